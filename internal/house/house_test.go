// SPDX-License-Identifier: MIT

package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree is the whole checkout, read once per test.
type tree struct {
	root  string
	files []string
}

func readTree(t *testing.T) tree {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := Files(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 || !slices.Contains(files, "go.mod") {
		t.Fatalf("%d files in %s: that is not the tree", len(files), root)
	}
	return tree{root, files}
}

func (tr tree) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(tr.root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// source is one Go file. Build tags do not matter: all files are parsed.
type source struct {
	name string // path from the root
	text string
	ast  *ast.File
	fset *token.FileSet
}

func (s source) dir() string         { return path.Dir(s.name) }
func (s source) test() bool          { return strings.HasSuffix(s.name, "_test.go") }
func (s source) line(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

// imports are the paths without quotes.
func (s source) imports() []string {
	var out []string
	for _, i := range s.ast.Imports {
		out = append(out, strings.Trim(i.Path.Value, "\"`"))
	}
	return out
}

func (tr tree) sources(t *testing.T) []source {
	t.Helper()
	var out []source
	for _, name := range tr.files {
		if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") {
			continue
		}
		s := source{name: name, text: tr.read(t, name), fset: token.NewFileSet()}
		f, err := parser.ParseFile(s.fset, name, s.text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s.ast = f
		out = append(out, s)
	}
	return out
}

func TestSPDXLineFirst(t *testing.T) {
	const spdx = "SPDX-License-Identifier: MIT\n"
	tr := readTree(t)
	for _, name := range tr.files {
		text := tr.read(t, name)
		switch {
		case path.Ext(name) == ".go":
			if !strings.HasPrefix(text, "// "+spdx) {
				t.Errorf("%s: the first line is not // %s", name, spdx)
			}
		case path.Ext(name) == ".sh" || strings.HasPrefix(text, "#!"):
			if !strings.Contains(text[:min(len(text), 200)], "# "+spdx) {
				t.Errorf("%s: no # %s near the top", name, spdx)
			}
		}
	}
}

// "every package comment states contents, limits and entry point": a program (package main) needs
// no entry point, so only the first words are checked there.
func TestPackageComments(t *testing.T) {
	docs := map[string][]string{} // folder: comments
	names := map[string]string{}
	for _, s := range readTree(t).sources(t) {
		if s.test() {
			continue
		}
		names[s.dir()] = s.ast.Name.Name
		if s.ast.Doc != nil {
			docs[s.dir()] = append(docs[s.dir()], s.ast.Doc.Text())
		}
	}
	for dir, name := range names {
		d := docs[dir]
		if len(d) != 1 {
			t.Errorf("%s: %d package comments, want 1", dir, len(d))
			continue
		}
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(d[0], want) {
			t.Errorf("%s: the package comment does not begin with %q: %.40q", dir, want, d[0])
		}
		words := strings.ToLower(strings.Join(strings.Fields(d[0]), " "))
		if name != "main" && !strings.Contains(words, "start at ") {
			t.Errorf("%s: the package comment names no entry point (Start at ...)", dir)
		}
		if len(d[0]) < 100 {
			t.Errorf("%s: the package comment is too short for contents and limits: %q", dir, d[0])
		}
	}
}

func TestNoInitFunctions(t *testing.T) {
	for _, s := range readTree(t).sources(t) {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s:%d: func init: nothing happens by import", s.name, s.line(f))
			}
		}
	}
}

// picture says whether a file is no text.
func picture(name string) bool { return path.Ext(name) == ".png" }

func TestTextFilesAreClean(t *testing.T) {
	tr := readTree(t)
	for _, name := range tr.files {
		if strings.Contains(name, "testdata/") || picture(name) {
			continue // captures and hostile input are what they are
		}
		text := tr.read(t, name)
		switch {
		case strings.Contains(text, "\r"):
			t.Errorf("%s: carriage returns", name)
		case text != "" && !strings.HasSuffix(text, "\n"):
			t.Errorf("%s: no newline at the end", name)
		}
		if path.Ext(name) == ".md" || path.Ext(name) == ".sh" {
			for i, line := range strings.Split(text, "\n") {
				if strings.TrimRight(line, " \t") != line {
					t.Errorf("%s:%d: blanks at the end of the line", name, i+1)
				}
			}
		}
	}
}
