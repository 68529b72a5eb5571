package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// print writes the figures for people: a block for each, a line in it for each server.
func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "%s, %d cores, %s\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel)
	fmt.Fprintf(out, "%d workers, %d connections for %g s, %d repetitions, seed %d\n\n",
		r.Settings.Workers, r.Settings.Connections, r.Settings.Seconds, r.Settings.Repetitions, r.Settings.Seed)
	for _, e := range r.Servers {
		fmt.Fprintln(out, strings.TrimSpace(fmt.Sprintf("%-12s %s  %s", e.Name, e.About, parenthesized(e.Version))))
	}
	for _, f := range figures {
		r.block(out, f, f.of(r.Samples))
	}
	r.block(out, forkToOnlineFigure, r.ForkToOnline)
	for _, f := range r.Failures {
		fmt.Fprintf(out, "\nfailed: %s\n", f)
	}
}

func parenthesized(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// block is one figure. The ratios stand in the lines of the servers that ours are compared with.
func (r *result) block(out io.Writer, f figure, s series) {
	if len(s) == 0 {
		return
	}
	ours := r.compared(f, s)
	line := fmt.Sprintf("%-36s%10s%10s%10s", f.name, "min", "median", "max")
	for _, name := range ours {
		line += fmt.Sprintf("   %-22s", name+" ÷ it")
	}
	fmt.Fprintf(out, "\n%s\n", strings.TrimRight(line, " "))
	for _, e := range r.Servers {
		x := s.spread(e.Name)
		if x.N == 0 {
			continue
		}
		line := fmt.Sprintf("  %-34s%10.*f%10.*f%10.*f", e.Name, f.decimals, x.Min, f.decimals, x.Median, f.decimals, x.Max)
		for _, name := range ours {
			line += fmt.Sprintf("   %-22s", r.ratio(s, name, e))
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
}

// compared are those of ours that have a ratio to show.
func (r *result) compared(f figure, s series) (ours []string) {
	for _, name := range r.subjects() {
		if f.ratio && slices.ContainsFunc(r.Servers, func(e entrant) bool { return r.ratio(s, name, e) != "" }) {
			ours = append(ours, name)
		}
	}
	return ours
}

// ratio of ours to another server: the median, and from where to where the pairs go.
func (r *result) ratio(s series, ours string, e entrant) string {
	x := s.ratio(ours, e.Name)
	if e.subject || x.N == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", x.Median, x.Min, x.Max)
}

// write writes everything that was measured, as JSON.
func (r *result) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode figures: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write figures: %w; choose another file with --json", err)
	}
	return nil
}
