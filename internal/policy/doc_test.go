// SPDX-License-Identifier: MIT

package policy

import (
	"go/ast"
	"strings"
	"testing"
)

func TestPackagesAreDocumented(t *testing.T) {
	docs, programs := map[string]string{}, map[string]bool{}
	for _, f := range goFiles(t) {
		if f.isTest() || strings.HasPrefix(f.text, "// SPDX") && strings.Contains(f.text, "//go:build ignore") {
			continue
		}
		docs[f.dir()] += f.ast.Doc.Text()
		programs[f.dir()] = f.ast.Name.Name == "main"
	}
	for dir, doc := range docs {
		if !strings.HasPrefix(doc, "Package ") && !programs[dir] || doc == "" {
			t.Errorf("%s: the package has no comment that says what it is for", dir)
		}
	}
}

// TestExportedNamesAreDocumented covers every package: those that only the
// project imports are read by the next engineer.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.isTest() || f.ast.Name.Name == "main" || ast.IsGenerated(f.ast) {
			continue
		}
		for _, d := range f.ast.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: %s is exported and has no comment", line(name.Pos()), name.Name)
			}
		}
	}
}

// undocumented returns the exported names of a declaration that nothing
// explains. A comment over a group, or at the end of a line, is enough.
func undocumented(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && !methodOfHidden(d) && !wellKnown[d.Name.Name] {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		if d.Doc != nil && d.Lparen.IsValid() {
			return nil
		}
		var names []*ast.Ident
		for _, s := range d.Specs {
			names = append(names, undocumentedSpec(s, d.Doc != nil)...)
		}
		return names
	}
	return nil
}

func undocumentedSpec(s ast.Spec, documented bool) []*ast.Ident {
	var names []*ast.Ident
	switch s := s.(type) {
	case *ast.TypeSpec:
		names, documented = []*ast.Ident{s.Name}, documented || s.Doc != nil || s.Comment != nil
	case *ast.ValueSpec:
		names, documented = s.Names, documented || s.Doc != nil || s.Comment != nil
	}
	if documented {
		return nil
	}
	var missing []*ast.Ident
	for _, n := range names {
		if n.IsExported() {
			missing = append(missing, n)
		}
	}
	return missing
}

// wellKnown methods mean what they mean everywhere.
var wellKnown = map[string]bool{"Error": true, "Unwrap": true, "String": true, "Is": true, "Len": true, "Less": true, "Swap": true}

// methodOfHidden reports whether d is a method of a type that is not exported.
func methodOfHidden(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return false
	}
	x := d.Recv.List[0].Type
	for {
		switch e := x.(type) {
		case *ast.StarExpr:
			x = e.X
		case *ast.IndexExpr:
			x = e.X
		case *ast.IndexListExpr:
			x = e.X
		case *ast.Ident:
			return !e.IsExported()
		default:
			return false
		}
	}
}
