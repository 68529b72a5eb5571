//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/wcluster/wcluster/abi"
)

// writeInspection is the text for people. Names come from the module, so they are escaped.
func writeInspection(w io.Writer, i *inspection) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", oneLine(i.Module), i.summary())
	writeImports(&b, i.Imports)
	writeExports(&b, i.Exports)
	_, err := io.WriteString(w, b.String())
	return err
}

// summary is "command, worker-aware, 14 kB, memory 128 kB to 16.8 MB".
func (i *inspection) summary() string {
	parts := []string{}
	if i.Kind != "" {
		parts = append(parts, string(i.Kind), i.Guest)
	}
	parts = append(parts, size(i.Bytes))
	switch {
	case i.Memory == nil:
	case i.Memory.MaxPages == nil:
		parts = append(parts, "memory "+pages(i.Memory.MinPages)+" and more")
	default:
		parts = append(parts, "memory "+pages(i.Memory.MinPages)+" to "+pages(*i.Memory.MaxPages))
	}
	return strings.Join(parts, ", ")
}

func pages(n uint32) string { return size(int64(n) * abi.PageSize) }

// writeImports groups by module: what a module wants of whom.
func writeImports(b *strings.Builder, imports []abi.Import) {
	var modules []string
	for _, im := range imports {
		if !slices.Contains(modules, im.Module) {
			modules = append(modules, im.Module)
		}
	}
	for _, m := range modules {
		fmt.Fprintf(b, "\nimports from %s\n", oneLine(m))
		table(b, func(t io.Writer) {
			for _, im := range imports {
				if im.Module != m {
					continue
				}
				mark := ""
				if !im.Provided {
					mark = "\tMISSING"
				}
				fmt.Fprintf(t, "  %s\t%s%s\n", oneLine(im.Name), oneLine(im.Signature), mark)
			}
		})
	}
}

func writeExports(b *strings.Builder, exports []abi.Export) {
	if len(exports) == 0 {
		return
	}
	b.WriteString("\nexports\n")
	table(b, func(t io.Writer) {
		for _, ex := range exports {
			fmt.Fprintf(t, "  %s\t%s\n", oneLine(ex.Name), oneLine(ex.Signature))
		}
	})
}

func table(b *strings.Builder, rows func(io.Writer)) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	rows(t)
	_ = t.Flush() // a Builder does not fail
}
