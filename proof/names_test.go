// SPDX-License-Identifier: MIT

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	ringHeader = "../driver/include/kshm_ring.h"
	eventCode  = "../driver/linux/kit.c" // of event.litmus
)

var (
	cName  = regexp.MustCompile(`\bkshm_[a-z_]+`)
	goName = regexp.MustCompile(`\b(?:side|Producer|Consumer|lane|Merger|Doorbell)\.[A-Za-z]+`)
)

// What a model, a litmus test or a harness says it stands for is there. One
// that names nothing proves nothing about this code.
func TestProofsNameTheCode(t *testing.T) {
	c, inGo := cNames(t), goNames(t)
	litmus, err := filepath.Glob("litmus/*.litmus")
	if err != nil || len(litmus) == 0 {
		t.Fatal("no litmus tests:", err)
	}
	for _, file := range append(litmus, "ring.pml", "../driver/test/ring/cbmc.c") {
		named := 0
		for _, name := range cName.FindAllString(text(t, file), -1) {
			if !c[name] {
				t.Errorf("%s: %s is neither in kshm_ring.h nor in kit.c", file, name)
			}
			named++
		}
		for _, name := range goName.FindAllString(text(t, file), -1) {
			if !inGo[name] {
				t.Errorf("%s: %s is not in package ring", file, name)
			}
			named++
		}
		if named == 0 {
			t.Errorf("%s does not say what it stands for", file)
		}
	}
}

// What input.pml stands for is there.
func TestInputNamesTheCode(t *testing.T) {
	code := text(t, "../driver/bpf/kshm.bpf.h") + text(t, ringHeader)
	names := cName.FindAllString(text(t, "input.pml"), -1)
	if len(names) == 0 {
		t.Error("input.pml does not say what it stands for")
	}
	for _, name := range names {
		if !regexp.MustCompile(`\b` + name + `\(`).MatchString(code) {
			t.Errorf("input.pml: there is no %s", name)
		}
	}
}

// Whatever orders shared words has a model or a litmus test.
func TestOrderingIsProved(t *testing.T) {
	proofs := text(t, "ring.pml")
	litmus, _ := filepath.Glob("litmus/*.litmus")
	for _, file := range litmus {
		proofs += text(t, file)
	}
	function := ""
	for line := range strings.Lines(text(t, ringHeader)) {
		if m := definition.FindStringSubmatch(line); m != nil {
			function = m[1]
		}
		if function != "" && (strings.Contains(line, "kshm_publish(") || strings.Contains(line, "kshm_read_acquire(")) &&
			!strings.Contains(proofs, function) {
			t.Errorf("%s orders shared words, and no proof names it", function)
		}
	}
}

func text(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// definition is the line that a function begins on.
var definition = regexp.MustCompile(`^(?:static inline .*?)?\b(kshm_[a-z_]+)\([^;]*$`)

// cNames are the words of the header and of the kit that begin with kshm_.
func cNames(t *testing.T) map[string]bool {
	names := map[string]bool{"kshm_ring": true} // kshm_ring.h
	for _, name := range cName.FindAllString(text(t, ringHeader)+text(t, eventCode), -1) {
		names[name] = true
	}
	return names
}

// goNames are the methods of package ring, as Type.Method.
func goNames(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	files, _ := filepath.Glob("../ring/*.go")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					names[receiver(n.Recv.List[0].Type)+"."+n.Name.Name] = true
				}
			case *ast.TypeSpec:
				if i, ok := n.Type.(*ast.InterfaceType); ok {
					for _, m := range i.Methods.List {
						for _, id := range m.Names {
							names[n.Name.Name+"."+id.Name] = true
						}
					}
				}
			}
			return true
		})
	}
	return names
}

func receiver(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	id, _ := e.(*ast.Ident)
	if id == nil {
		return ""
	}
	return id.Name
}
