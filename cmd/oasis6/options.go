// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"oasis6/config"
)

// options are the options of one command. They are declared here instead of on a flag.FlagSet so
// that the help and the test of the manual page can list them.
type options struct {
	fs   *flag.FlagSet
	list []option
	// wrong is why a value was refused; package flag makes a text of it that names things by Go's habits.
	wrong error
}

type option struct {
	long  string // without dashes
	short string // one letter, may be empty
	arg   string // name of its value, empty for a switch
	usage string
	def   string // default as the help shows it, empty: none
}

func newOptions(command string) *options {
	o := &options{fs: flag.NewFlagSet(command, flag.ContinueOnError)}
	o.fs.SetOutput(io.Discard) // we report errors ourselves
	o.fs.Usage = func() {}
	return o
}

// text declares an option with a value.
func (o *options) text(p *string, opt option) {
	*p = opt.def
	o.value((*textValue)(p), opt)
}

// toggle declares an option without a value.
func (o *options) toggle(p *bool, opt option) {
	o.fs.BoolVar(p, opt.long, false, "")
	o.list = append(o.list, opt)
}

// value declares an option with a type of its own.
func (o *options) value(v flag.Value, opt option) {
	v = checked{v, opt.long, &o.wrong}
	o.fs.Var(v, opt.long, "")
	if opt.short != "" {
		o.fs.Var(v, opt.short, "")
	}
	o.list = append(o.list, opt)
}

// parse takes options and words in any order; after "--" come words only.
func (o *options) parse(args []string) (words []string, err error) {
	for {
		if err := o.fs.Parse(args); err != nil {
			return nil, o.explain(err)
		}
		rest := o.fs.Args()
		if len(rest) == 0 {
			return words, nil
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return slices.Concat(words, rest), nil
		}
		words = append(words, rest[0])
		args = rest[1:]
	}
}

// explain puts an error of package flag into the words of the help.
func (o *options) explain(err error) error {
	if o.wrong != nil {
		return o.wrong
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		var names []string
		for _, opt := range o.list {
			names = append(names, opt.long)
		}
		if near := config.Nearest(name, names); near != "" {
			return fmt.Errorf("no option %s: did you mean --%s?", dashed(name), near)
		}
		return fmt.Errorf("no option %s", dashed(name))
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		for _, opt := range o.list {
			if name == opt.long || name == opt.short {
				return fmt.Errorf("%s needs %s", dashed(name), opt.arg)
			}
		}
	}
	return err
}

// dashed is an option as one types it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// checked notes why a value is refused.
type checked struct {
	flag.Value
	long  string
	wrong *error
}

func (c checked) String() string {
	if c.Value == nil { // package flag asks the zero value
		return ""
	}
	return c.Value.String()
}

func (c checked) Set(s string) error {
	err := c.Value.Set(s)
	if err != nil {
		*c.wrong = fmt.Errorf("--%s %s: %w", c.long, s, err)
	}
	return err
}

type textValue string

func (v *textValue) String() string     { return string(*v) }
func (v *textValue) Set(s string) error { *v = textValue(s); return nil }

// choice is a value out of a few.
type choice struct {
	value   *string
	allowed []string
}

func (c choice) String() string {
	if c.value == nil { // package flag asks the zero value
		return ""
	}
	return *c.value
}

func (c choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return errors.New("want " + strings.Join(c.allowed, " or "))
	}
	*c.value = s
	return nil
}

// Where things are, unless the command line says otherwise.
const (
	defaultConfig = "/etc/oasis6/oasis6.conf"
	defaultState  = "/var/lib/oasis6"
	defaultRun    = "/run/oasis6"
)

func configOption(o *options, p *string) {
	o.text(p, option{long: "config", short: "c", arg: "FILE", usage: "configuration file", def: defaultConfig})
}

func runOption(o *options, p *string) {
	o.text(p, option{long: "run", arg: "DIR", usage: "folder of the control socket", def: defaultRun})
}

// socketPath is the control socket in a RUN folder.
func socketPath(run string) string { return filepath.Join(run, "oasis6.sock") }
