//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError words what is wrong with a flag: one line, with a suggestion where there is one.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var bad *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return usage(unknownFlag(cmd, unknown))
	case errors.As(err, &bad):
		return usage(fmt.Errorf("%s %q: %w", written(bad.GetFlag()), bad.GetValue(), valueError(bad.GetFlag(), bad.Unwrap())))
	default:
		return usage(err)
	}
}

// valueError words what is wrong with the value of a flag. Our own values do so themselves; switches are pflag's.
func valueError(f *pflag.Flag, err error) error {
	if f.Value.Type() == "bool" {
		return errors.New("write true or false")
	}
	return err
}

// written is a flag as people write it.
func written(f *pflag.Flag) string {
	if f.Shorthand != "" {
		return "-" + f.Shorthand
	}
	return "--" + f.Name
}

func unknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) error {
	name := unknown.GetSpecifiedName()
	if unknown.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("unknown flag -%s; see \"%s --help\"", name[:1], cmd.CommandPath())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := suggest(name, names); near != "" {
		return fmt.Errorf("unknown flag --%s; did you mean --%s?", name, near)
	}
	return fmt.Errorf("unknown flag --%s; see \"%s --help\"", name, cmd.CommandPath())
}

// suggest is the name that was probably meant, or "". cobra knows how to find it among commands only, so the names are
// dressed as commands.
func suggest(typed string, names []string) string {
	if typed == "" {
		return ""
	}
	c := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range names {
		c.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	near := c.SuggestionsFor(typed)
	if len(near) == 0 {
		return ""
	}
	return near[0]
}

// oneOf is the error for a value that is none of a few.
func oneOf(typed string, names []string) error {
	if near := suggest(typed, names); near != "" {
		return fmt.Errorf("did you mean %s?", near)
	}
	last := len(names) - 1
	return fmt.Errorf("choose %s or %s", strings.Join(names[:last], ", "), names[last])
}
