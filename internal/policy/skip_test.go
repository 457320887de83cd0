// SPDX-License-Identifier: MIT

package policy

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// A test that skips itself because a tool is missing has to fail where CI=true.
// gates are the skips that are no question of tools: another make target runs
// what they leave out.
var gates = map[string]string{
	"KSHM_VM":                "make test-vm",
	"KSHM_ROWS":              "make test-vm, which sets it",
	"inUserMode":             "make test-vm: what user-mode Linux has not, real kernels have",
	"inRealTime":             "make test-vm: what PREEMPT_RT has not, other kernels have",
	"-seeded":                "make test-full",
	"-faults":                "make test-faults",
	"KSHM_ALARMS":            "make test-debug and make test-kcsan",
	"KSHM_TEST_UNPRIVILEGED": "started by another test, as another user",
}

func TestNoSkipHidesAMissingTool(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, d := range f.ast.Decls {
			ast.Inspect(d, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !isSkip(call) {
					return true
				}
				if body := textOf(f, d); !strings.Contains(body, `os.Getenv("CI")`) && !gated(body) {
					t.Errorf("%s: with CI=true this has to fail; or it is a gate: add it to gates", line(call.Pos()))
				}
				return true
			})
		}
	}
}

func isSkip(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && (sel.Sel.Name == "Skip" || sel.Sel.Name == "Skipf" || sel.Sel.Name == "SkipNow")
}

func gated(body string) bool {
	for word := range gates {
		if strings.Contains(body, word) {
			return true
		}
	}
	return false
}

func textOf(f goFile, n ast.Node) string {
	offset := func(p token.Pos) int { return fset.Position(p).Offset }
	return f.text[offset(n.Pos()):offset(n.End())]
}
