package wcluster_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheAPIDocumentNamesWhatExists: every test, every Go name and every guest call in docs/api.md is there.
func TestTheAPIDocumentNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	treaty, err := os.ReadFile("abi/ABI.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	names := exportedNames(t, "master")
	for name := range exportedNames(t, "host") {
		names["host."+name] = true
	}
	calls := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^### .*$`).FindAllString(string(treaty), -1) {
		for _, call := range regexp.MustCompile(`(\w+)\(`).FindAllStringSubmatch(heading, -1) {
			calls["wcluster."+call[1]] = true
		}
	}
	node := regexp.MustCompile(`(?m)^\| [^|]*\|`) // the first column is Node's
	found := map[string]int{}
	for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(node.ReplaceAllString(string(text), "|"), -1) {
		name, known := match[1], false
		kind := "Go name"
		switch {
		case strings.HasPrefix(name, "Test"):
			kind, known = "test", tests[name]
		case strings.HasPrefix(name, "wcluster."):
			kind, known = "guest call", calls[name]
		case name == "master" || name == "cluster.disconnect" || name == "listening":
			continue // the package itself, and Node's words in running text
		default:
			known = names[name]
		}
		found[kind]++
		if !known {
			t.Errorf("docs/api.md names the %s %s, which does not exist", kind, name)
		}
	}
	for _, kind := range []string{"test", "guest call", "Go name"} {
		if found[kind] < 10 {
			t.Errorf("docs/api.md names %d of the kind %s: is it still read right?", found[kind], kind)
		}
	}
}

// testNames are the tests of all packages.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// exportedNames are those of a package: functions, constants, variables and types by their names; methods and fields as
// Type.Name.
func exportedNames(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files of %s: %v, %v", dir, files, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[receiver(d)+d.Name.Name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					nameSpec(names, spec)
				}
			}
		}
	}
	for name := range names {
		if last := name[strings.LastIndexByte(name, '.')+1:]; !ast.IsExported(name) || !ast.IsExported(last) {
			delete(names, name)
		}
	}
	return names
}

// receiver is "Type." of a method, and "" of a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return id.Name + "."
	}
	return "?." // generic: none of the API is
}

func nameSpec(names map[string]bool, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			names[n.Name] = true
		}
	case *ast.TypeSpec:
		names[s.Name.Name] = true
		if fields, ok := s.Type.(*ast.StructType); ok {
			for _, field := range fields.Fields.List {
				for _, n := range field.Names {
					names[s.Name.Name+"."+n.Name] = true
				}
			}
		}
	}
}
