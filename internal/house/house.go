// SPDX-License-Identifier: MIT

// Package house checks the whole tree against the house style: what every file must have, who may
// import whom, which addresses may stand in it, and that texts, container file and manual page
// agree with the code. The checks are its tests; the package itself only finds files.
//
// It must not know what the code does. Start at Root and Files.
package house

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Root is the folder of go.mod, at or above the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod here or above: run this inside the checkout")
		}
		dir = up
	}
}

// Files are the files that belong to the tree, relative to root, sorted: what git tracks or would
// track. In a tree without git, an unpacked archive, it is everything but build output.
func Files(root string) ([]string, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return walk(root)
	}
	var files []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		// A file that was removed but is still in the index is no file.
		if fi, err := os.Lstat(filepath.Join(root, name)); name != "" && err == nil && fi.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func walk(root string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (name == ".git" || name == "bin" || name == "dist"):
			return fs.SkipDir
		case d.Type().IsRegular():
			files = append(files, filepath.ToSlash(name))
		}
		return nil
	})
	return files, err
}
