package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// progress tells on stderr how far the run is: on a terminal in one line that changes, elsewhere in a line that is added
// now and then.
type progress struct {
	to       *os.File // nil: silent
	terminal bool
	at       string
}

func newProgress(to *os.File) *progress {
	_, err := unix.IoctlGetTermios(int(to.Fd()), unix.TCGETS)
	return &progress{to: to, terminal: err == nil}
}

// begin names what is worked on, such as "repetition 2 of 5: nginx".
func (p *progress) begin(at string) {
	p.at = at
	p.show(at)
}

// step is what is being done about it.
func (p *progress) step(what string) { p.show(p.at + ": " + what) }

func (p *progress) show(text string) {
	if p.terminal {
		fmt.Fprintf(p.to, "\r\x1b[K%s", text)
	}
}

// note is a line that stays.
func (p *progress) note(text string) {
	if p.to == nil {
		return
	}
	if p.terminal {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
	fmt.Fprintln(p.to, text)
}

// milestone is a line where there is no terminal to show the steps.
func (p *progress) milestone(text string) {
	if !p.terminal {
		p.note(text)
	}
}

// end leaves the line of a terminal empty.
func (p *progress) end() { p.show("") }
