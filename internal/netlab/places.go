// SPDX-License-Identifier: MIT

package netlab

// Where oasis6 has its files in a node, be it the box or the hub. Tests see them at the same paths.

// ownPlaces says whether oasis6 may use its default places below /etc and /var/lib in a node.
func (w *World) ownPlaces(n *Node) bool { return w.Config.DefaultPlaces && n.Shares() == nil }

func (w *World) confFile(n *Node) string {
	if w.ownPlaces(n) {
		return "/etc/oasis6/oasis6.conf"
	}
	return n.Path("oasis6.conf")
}

func (w *World) stateDir(n *Node) string {
	if w.ownPlaces(n) {
		return "/var/lib/oasis6"
	}
	return n.Path("state")
}

func (w *World) runDir(n *Node) string {
	if w.Config.DefaultPlaces {
		return "/run/oasis6"
	}
	return n.Path("run")
}

// args is a command line of oasis6 in a node, with those of the flags -c, --state and --run that the subcommand takes.
func (w *World) args(n *Node, binary, sub string, extra []string) []string {
	args := []string{binary, sub}
	switch sub {
	case "run", "hub":
		args = append(args, "-c", w.confFile(n), "--state", w.stateDir(n), "--run", w.runDir(n))
	case "check":
		args = append(args, "-c", w.confFile(n))
	case "join":
		args = append(args, "-c", w.confFile(n), "--run", w.runDir(n))
	case "status", "leave", "invite":
		args = append(args, "--run", w.runDir(n))
	}
	return append(args, extra...)
}
