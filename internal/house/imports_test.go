// SPDX-License-Identifier: MIT

package house

import (
	"go/ast"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "oasis6"

// ranks are the layers: a package imports only lower ones, and its own subtree. The tools below
// internal/netlab, internal/house and bench stand above all: they start programs, and no product
// package may import them.
func rank(dir string) int {
	switch top, rest, _ := strings.Cut(dir, "/"); {
	case top == "cmd":
		return 6
	case top == "lab" || top == "trial":
		return 5
	case top == "router" || top == "hub":
		return 4
	case slices.Contains([]string{"tun", "dhcpv6", "ra", "dataplane", "status"}, top):
		return 3
	case top == "config":
		return 2
	case dir == "internal/netlab" || dir == "internal/house" || strings.HasPrefix(rest, "netlab/") || strings.HasPrefix(rest, "house/"):
		return toolRank
	case top == "internal":
		return 1
	case top == "bench" || top == "firmware" || top == "scripts" || top == "docs":
		return toolRank
	}
	return 0
}

const toolRank = 9

func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

func TestEveryFolderHasALayer(t *testing.T) {
	for _, s := range readTree(t).sources(t) {
		if rank(s.dir()) == 0 {
			t.Errorf("%s: the folder has no layer: name it in DESIGN and in rank", s.name)
		}
	}
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range readTree(t).sources(t) {
		if s.test() {
			continue
		}
		for _, imp := range s.imports() {
			dir, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			from, to := rank(s.dir()), rank(dir)
			topFrom, _, _ := strings.Cut(s.dir(), "/")
			topTo, _, _ := strings.Cut(dir, "/")
			switch {
			case topTo == "cmd":
				t.Errorf("%s: imports %s: nothing imports cmd", s.name, imp)
			case to < from, to == 1 && from == 1, to == toolRank && from == toolRank:
			case topFrom == topTo && topFrom != "internal": // own subtree
			default:
				t.Errorf("%s: imports %s, which is not below it", s.name, imp)
			}
		}
	}
}

// machines are the pure ones: STYLE's protocol roles and what they stand on.
func machine(s source) bool {
	return s.dir() == "dhcpv6" || within(s.dir(), "dhcpv6/client") || within(s.dir(), "dhcpv6/server") || s.dir() == "hub/pd" ||
		s.dir() == "ra" || s.dir() == "tun/health" || s.dir() == "internal/invite" || s.dir() == "hub/enroll" || s.dir() == "lab/simwg/device" ||
		slices.Contains([]string{"lab/packet", "lab/pcapng", "lab/noise", "lab/simseal", "lab/neighbor"}, s.dir()) || crowded(s) ||
		s.dir() == "router" && strings.HasPrefix(path.Base(s.name), "plan") ||
		s.dir() == "lab/nat" && !slices.Contains([]string{"arp.go", "node.go"}, path.Base(s.name))
}

// crowded machines are on the path of packets, which several goroutines go at once: they hold locks.
func crowded(s source) bool { return s.dir() == "dataplane/netstack/forward" }

func TestMachinesArePure(t *testing.T) {
	forbidden := []string{
		"os", "syscall", "log", "net", "math/rand", "crypto/rand", "runtime", "sync",
		"golang.org/x/sys", "golang.org/x/net", "github.com/vishvananda", "github.com/google/nftables", "golang.zx2c4.com",
		module + "/internal/bootclock",
	}
	allowed := []string{"net/netip", "golang.org/x/net/dns/dnsmessage"} // types and codecs
	for _, s := range readTree(t).sources(t) {
		if s.test() || !machine(s) {
			continue
		}
		imports := s.imports()
		converts := slices.ContainsFunc(imports, func(i string) bool { return within(i, "github.com/insomniacslk/dhcp") })
		for _, imp := range imports {
			bad := slices.ContainsFunc(forbidden, func(f string) bool { return within(imp, f) })
			if imp == "net" && converts || within(imp, "sync") && crowded(s) {
				bad = false // converts to the library's types; or see crowded
			}
			if bad && !slices.Contains(allowed, imp) {
				t.Errorf("%s: a machine imports %s", s.name, imp)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
			if ok && pkg.Name == "time" && pkg.Obj == nil && slices.Contains(clock, sel.Sel.Name) {
				t.Errorf("%s:%d: a machine calls time.%s: time is an argument", s.name, s.line(sel), sel.Sel.Name)
			}
			return true
		})
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				ast.Inspect(f.Body, func(n ast.Node) bool {
					if g, ok := n.(*ast.GoStmt); ok {
						t.Errorf("%s:%d: a machine starts a goroutine", s.name, s.line(g))
					}
					return true
				})
			}
		}
	}
}

// rooms say where a foreign package may be imported, tests aside. A package with no room may not
// be imported at all.
func rooms() map[string][]string {
	return map[string][]string{
		"gvisor.dev/gvisor":                 {"dataplane/netstack", "lab", "trial", "cmd/oasis6"},
		"golang.zx2c4.com/wireguard":        {"tun", "dataplane/netstack", "lab", "trial", "internal/netlab"},
		"github.com/vishvananda":            {"dataplane/kernel", "internal/netlab", "tun"},
		"github.com/google/nftables":        {"dataplane/kernel", "internal/netlab"},
		"github.com/insomniacslk/dhcp":      {"dhcpv6", "internal/netlab"},
		"github.com/alecthomas/kong":        {},
		"text/template":                     {},
		"html/template":                     {},
		"net/http":                          {"internal/netlab"}, // internal/httpd is for pages
		"plugin":                            {},
		"testing":                           {"internal/netlab", "hub/store/storetest", "lab/pcapng/pcapngtest", "lab/page/pagetest"},
		"go.etcd.io/bbolt":                  {"hub/store"},
		"rsc.io/qr":                         {"cmd"},
		"github.com/google/go-cmp":          {},
		"pgregory.net/rapid":                {"hub/store/storetest"},
		"github.com/mdlayher/ndp":           {"internal/netlab"},
		"encoding/gob":                      {},
		"golang.zx2c4.com/wireguard/wgctrl": {},
	}
}

func TestForeignPackagesStayInTheirRooms(t *testing.T) {
	for _, s := range readTree(t).sources(t) {
		if s.test() {
			continue
		}
		for _, imp := range s.imports() {
			for pkg, allowed := range rooms() {
				if within(imp, pkg) && !slices.ContainsFunc(allowed, func(dir string) bool { return within(s.dir(), dir) }) {
					t.Errorf("%s: imports %s, which may be imported in %q only", s.name, imp, allowed)
				}
			}
		}
	}
}

func TestRouterKnowsNoKernel(t *testing.T) {
	forbidden := []string{"github.com/vishvananda", "github.com/google/nftables", "gvisor.dev", module + "/dataplane/kernel", module + "/dataplane/netstack", "golang.org/x/sys"}
	for _, s := range readTree(t).sources(t) {
		if s.test() || !within(s.dir(), "router") && !within(s.dir(), "hub") {
			continue
		}
		for _, imp := range s.imports() {
			if slices.ContainsFunc(forbidden, func(f string) bool { return within(imp, f) }) {
				t.Errorf("%s: imports %s", s.name, imp)
			}
		}
	}
}

// net/http is 3.2 MB on a board (docs/decisions/0019); reflect's method lookup (text/template) keeps
// every method of every type alive.
func TestSmallBuildStaysSmall(t *testing.T) {
	tr := readTree(t)
	forbidden := []string{"net/http", "text/template", "html/template", "testing", "gvisor.dev/gvisor", module + "/hub", module + "/lab", module + "/trial", module + "/status/web", module + "/internal/netlab"}
	whole := []string{"gvisor.dev/gvisor", module + "/hub", module + "/lab", module + "/trial"} // the other build may have these
	for _, tags := range []string{"small", ""} {
		cmd := exec.Command("go", "list", "-deps", "-tags", tags, "./cmd/oasis6")
		cmd.Dir = tr.root
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list -tags %q: %v", tags, err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, module+"/cmd/oasis6") {
			t.Fatalf("go list -tags %q: %d packages, the command is not among them", tags, len(deps))
		}
		for _, d := range deps {
			bad := slices.ContainsFunc(forbidden, func(f string) bool { return within(d, f) })
			if bad && (tags == "small" || !slices.ContainsFunc(whole, func(w string) bool { return within(d, w) })) {
				t.Errorf("the build with tags %q contains %s", tags, d)
			}
		}
	}
}
