//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/wcluster/wcluster/master"
)

// progress is the line about a compilation that takes a while, on a terminal. It is gone when the compilation ends.
type progress struct {
	to   io.Writer     // nil: nobody looks
	stop chan struct{} // nil: no line is there or waits to be
	done chan struct{}
}

// progressDelay is how long a compilation must take to be worth a line.
const progressDelay = 300 * time.Millisecond

// newProgress is one that shows something only if stderr is a terminal.
func newProgress(stderr *os.File) *progress {
	if !isTerminal(stderr) {
		return &progress{}
	}
	return &progress{to: stderr}
}

// stage is called before each step of Prepare.
func (p *progress) stage(s master.Stage) {
	p.end()
	if s.Step != master.StepCompile || p.to == nil {
		return
	}
	p.stop, p.done = make(chan struct{}), make(chan struct{})
	go p.show(fmt.Sprintf("wcluster: compiling %s (%s)…", oneLine(s.Module), size(s.Bytes)))
}

// end takes the line away and waits until it is.
func (p *progress) end() {
	if p.stop == nil {
		return
	}
	close(p.stop)
	<-p.done
	p.stop = nil
}

// clearLine moves to the start of a terminal's line and erases it.
const clearLine = "\r\x1b[K"

func (p *progress) show(text string) {
	defer close(p.done)
	start, shown := time.Now(), false
	tick := time.NewTimer(progressDelay)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			seconds := int(time.Since(start).Round(time.Second / 10).Seconds())
			fmt.Fprintf(p.to, "%s%s %d s", clearLine, text, seconds)
			shown = true
			tick.Reset(time.Until(start.Add(time.Duration(seconds+1) * time.Second)))
		case <-p.stop:
			if shown {
				fmt.Fprint(p.to, clearLine)
			}
			return
		}
	}
}
