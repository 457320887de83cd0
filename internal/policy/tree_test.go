// SPDX-License-Identifier: MIT

package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A file of the repository. Its name is relative to the root, with slashes.
type file struct {
	name string
	text string
}

func (f file) dir() string { return path.Dir(f.name) }

func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// under reports whether the file lies in one of the folders, or is one of them.
func (f file) under(places ...string) bool {
	for _, p := range places {
		if f.name == p || strings.HasPrefix(f.name, p+"/") {
			return true
		}
	}
	return false
}

func (f file) hasSuffix(suffixes ...string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(f.name, s) {
			return true
		}
	}
	return false
}

// tree reads every file of the repository: all but what is built or fetched,
// and what belongs to an editor.
var tree = sync.OnceValues(func() ([]file, error) {
	const root = "../.."
	var files []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		hidden := strings.HasPrefix(d.Name(), ".") && !keptHidden[d.Name()]
		if d.IsDir() && (rel == "build" || hidden && rel != ".") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || hidden || strings.HasSuffix(rel, ".test") || strings.HasSuffix(rel, ".o") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files = append(files, file{rel, string(text)})
		return nil
	})
	return files, err
})

var keptHidden = map[string]bool{".ci": true, ".github": true, ".clang-format": true, ".gitignore": true}

func allFiles(t *testing.T) []file {
	t.Helper()
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found only %d files", len(files))
	}
	return files
}

// A goFile is parsed whatever system or tag it is for.
type goFile struct {
	file
	ast *ast.File
}

var fset = token.NewFileSet()

var parsed = sync.OnceValues(func() ([]goFile, error) {
	files, err := tree()
	if err != nil {
		return nil, err
	}
	var all []goFile
	for _, f := range files {
		if !strings.HasSuffix(f.name, ".go") {
			continue
		}
		a, err := parser.ParseFile(fset, f.name, f.text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		all = append(all, goFile{f, a})
	}
	return all, nil
})

func goFiles(t *testing.T) []goFile {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// line returns "file:line" of a place in the code.
func line(pos token.Pos) string {
	p := fset.Position(pos)
	p.Column = 0
	return p.String()
}
