package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
)

// TestMatrixLeavesNothingOut reads the tables of what a node serves, and compares them with the requests of the matrix:
// who adds an endpoint says here who may ask for it.
func TestMatrixLeavesNothingOut(t *testing.T) {
	t.Parallel()
	asked := map[string][]string{}
	for _, r := range matrixRequests() {
		if !slices.Contains(asked[r.endpoint], r.method) {
			asked[r.endpoint] = append(asked[r.endpoint], r.method)
		}
		if r.needs != nil || r.admin != "" {
			continue
		}
		known := map[string]bool{}
		for _, way := range matrixWays() {
			for _, who := range way.identities {
				known[who.name] = true
				if r.want[who.name] == 0 {
					t.Errorf("%s: nothing is said of %q", r, who.name)
				}
			}
		}
		if len(r.want) != len(known) {
			t.Errorf("%s: there are others among %v", r, slices.Sorted(maps.Keys(r.want)))
		}
	}
	served := servedRoutes(t)
	paths := servedPaths(t)
	for endpoint, methods := range served {
		if have := slices.Sorted(slices.Values(asked[endpoint])); !slices.Equal(have, methods) {
			t.Errorf("api/routes.go has %s %v, and the matrix %v", endpoint, methods, have)
		}
	}
	for _, path := range paths {
		if len(asked[path]) == 0 {
			t.Errorf("api/ext serves %s, which is not in the matrix", path)
		}
	}
	for endpoint := range asked {
		if served[endpoint] == nil && !slices.Contains(paths, endpoint) {
			t.Errorf("nobody serves %s", endpoint)
		}
	}
	if len(served) < 8 || len(paths) < 8 {
		t.Errorf("read %d endpoints and %d paths: this test does not know any more how they are written down", len(served), len(paths))
	}
}

// servedRoutes are the methods of the endpoints in api/routes.go.
func servedRoutes(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	inspect(t, filepath.Join("..", "..", "api", "routes.go"), func(n ast.Node) {
		entry, is := n.(*ast.KeyValueExpr)
		if !is {
			return
		}
		endpoint, named := entry.Key.(*ast.Ident)
		methods, list := entry.Value.(*ast.CompositeLit)
		if !named || !list {
			return
		}
		for _, e := range methods.Elts {
			method := e.(*ast.KeyValueExpr).Key.(*ast.SelectorExpr).Sel.Name // http.MethodGet
			all[endpoint.Name] = append(all[endpoint.Name], strings.ToUpper(strings.TrimPrefix(method, "Method")))
		}
		slices.Sort(all[endpoint.Name])
	})
	return all
}

// servedPaths are the paths that api/ext puts into its table.
func servedPaths(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "api", "ext", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{
		"auth.TokenPath": auth.TokenPath, "auth.LoginPath": auth.LoginPath, "auth.OldLoginPath": auth.OldLoginPath,
		"auth.CallbackPath": auth.CallbackPath, "auth.OldCallbackPath": auth.OldCallbackPath,
	}
	for _, file := range files {
		inspect(t, file, func(n ast.Node) {
			a, is := n.(*ast.AssignStmt)
			if !is {
				return
			}
			for _, to := range a.Lhs {
				entry, is := to.(*ast.IndexExpr)
				if !is {
					continue
				}
				if table, is := entry.X.(*ast.SelectorExpr); !is || table.Sel.Name != "paths" {
					continue
				}
				path := ""
				switch key := entry.Index.(type) {
				case *ast.BasicLit:
					path, _ = strconv.Unquote(key.Value)
				case *ast.SelectorExpr:
					path = known[key.X.(*ast.Ident).Name+"."+key.Sel.Name]
				}
				if path == "" {
					t.Errorf("%s: this test does not know what path that is", file)
					continue
				}
				all = append(all, path)
			}
		})
	}
	return all
}

// inspect shows all nodes of a file.
func inspect(t *testing.T, file string, show func(n ast.Node)) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool { show(n); return true })
}
