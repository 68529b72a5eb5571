//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "wcluster",
		Short: "Run a Wasm module in several worker processes that share listening sockets",
		Long: `wcluster runs a WebAssembly module, built for wasip1, in several worker processes
that share listening sockets. A worker that dies is replaced; the others go on.`,
		Example: `  wcluster run app.wasm --listen tcp://127.0.0.1:8000
  wcluster inspect app.wasm`,
		Args:              knownCommand,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags(), os.Getenv) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true, // main prints them, as one line
		SilenceUsage:      true,
	}
	root.SuggestionsMinimumDistance = 2
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newRun(), newInspect(), newDoctor(), newVersion(), topic("exit-codes", "The exit codes", exitCodesHelp),
		topic("environment", "Flags from environment variables", environmentHelp))
	return root
}

// topic is a page of help; cobra lists commands that do nothing as such.
func topic(name, short, text string) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Long: strings.TrimRight(text, "\n")}
	c.SetHelpTemplate("{{.Long}}\n")
	return c
}

// knownCommand is reached with arguments only when the first is no command.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if strings.HasSuffix(args[0], ".wasm") {
		return usage(fmt.Errorf("unknown command %q; did you mean \"wcluster run %s\"?", args[0], args[0]))
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(fmt.Errorf("unknown command %q; did you mean %q?", args[0], near[0]))
	}
	return usage(fmt.Errorf("unknown command %q; see \"wcluster --help\"", args[0]))
}

// oneModule is the Args of commands that take a module, and, after --, arguments for the guest where rest is allowed.
func oneModule(rest bool) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		own := len(args)
		if dash := cmd.ArgsLenAtDash(); dash >= 0 && rest {
			own = dash
		}
		switch {
		case own == 0:
			return usage(fmt.Errorf("%s needs the path of a module: %s app.wasm", cmd.Name(), cmd.CommandPath()))
		case own > 1 && rest:
			return usage(fmt.Errorf("unexpected argument %q; arguments for the guest go after --", args[1]))
		case own > 1:
			return usage(fmt.Errorf("unexpected argument %q; %s takes one module", args[1], cmd.Name()))
		default:
			return nil
		}
	}
}
