//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
)

// textFormat is for people: lines about the cluster on stderr, and the workers' own lines where they wrote them, with
// the worker's number in front. A terminal shows the number in the worker's colour.
type textFormat struct {
	colourOut, colourErr bool
	graceful             time.Duration // for the line about a signal
}

func (f *textFormat) line(r *record) (text []byte, toStdout bool) {
	var b bytes.Buffer
	switch r.Event {
	case "output":
		toStdout = r.Stream == "stdout"
		f.prefix(&b, r.Worker, toStdout)
		b.WriteString(*r.Text)
	case "message":
		f.prefix(&b, r.Worker, false)
		body := r.Base64
		if r.Text != nil {
			body = []byte(*r.Text)
		}
		fmt.Fprintf(&b, "message: %s", escaped(body))
	default:
		about := f.about(r)
		if about == "" {
			return nil, false
		}
		b.WriteString("wcluster: " + about)
	}
	b.WriteByte('\n')
	return b.Bytes(), toStdout
}

// about is what is said of the cluster; "" for what people need not know.
func (f *textFormat) about(r *record) string {
	switch r.Event {
	case "listener":
		return "listening on " + oneLine(r.Address)
	case "sandbox":
		return sandboxText(r)
	case "online":
		return fmt.Sprintf("worker %d online (pid %d)", r.Worker, r.Pid)
	case "listening":
		return fmt.Sprintf("worker %d listening on %s", r.Worker, oneLine(r.Address))
	case "exit":
		if r.Worker == 0 {
			return "guest master " + r.Exit.text()
		}
		return fmt.Sprintf("worker %d %s", r.Worker, r.Exit.text())
	case "restart":
		return fmt.Sprintf("worker %d is replaced in %v", r.Worker, span(r.Delay))
	case "replaced":
		return fmt.Sprintf("worker %d replaces worker %d", r.Worker, r.Replaces)
	case "refused":
		return oneLine(r.Error)
	case "fork-error":
		return fmt.Sprintf("%s; trying again in %v", oneLine(r.Error), span(r.Delay))
	case "degraded":
		return fmt.Sprintf("degraded: workers end too fast and are replaced more slowly (%d ended since the last line)", r.Count)
	case "recovered":
		return "recovered: no worker has ended for a while"
	case "signal":
		return fmt.Sprintf("%s: workers finish their connections, for %v at most; a second signal ends them at once", r.Signal, f.graceful)
	case "lost":
		return count(r.Lines, "line") + " lost: nobody took them in time"
	case "summary":
		s := r.Summary
		return fmt.Sprintf("%s, %s, %s accepted, %d cut",
			count(s.Workers, "worker"), count(s.Restarts, "restart"), count(s.Accepted, "connection"), s.Cut)
	default:
		return ""
	}
}

// sandboxText is a line for each thing that people may want to do something about.
func sandboxText(r *record) string {
	text := map[master.Confinement]string{
		master.ConfinedFully:   "workers are locked down (sandbox strict)",
		master.ConfinedPartly:  "workers are locked down in part (sandbox partial; see \"wcluster doctor\")",
		master.ConfinedLogging: "workers are NOT locked down: what the sandbox would refuse is logged (sandbox log)",
		master.ConfinedNot:     "workers are NOT locked down (sandbox off)",
	}[master.Confinement(r.Sandbox)]
	for _, m := range r.Missing {
		switch {
		case m.Layer == "cpu":
			text += "\nwcluster: --cpu has no effect: " + oneLine(m.Error)
		case abi.Layer(m.Layer).Required():
			text += fmt.Sprintf("\nwcluster: the sandbox lacks %s: %s", m.Layer, oneLine(m.Error))
		}
	}
	return text
}

// span is a number of seconds for people.
func span(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
}

// maxFrames bounds what is shown of a stack: a deep recursion has thousands of frames, and a crash loop many stacks.
const maxFrames = 32

func (x *exitRecord) text() string {
	s := ""
	switch {
	case x.Reason == "start":
		s = "could not start"
	case x.Code != nil:
		s = fmt.Sprintf("exited with code %d", *x.Code)
	default:
		s = "killed by " + x.Signal
	}
	if x.Fault != "" {
		s += ": " + oneLine(x.Fault)
	}
	if x.Cut > 0 {
		s += "; " + count(x.Cut, "connection") + " cut"
	}
	return s + stackText(x.Stack)
}

// stackText is the stack below its line, indented.
func stackText(stack string) string {
	if stack == "" {
		return ""
	}
	frames := strings.Split(stack, "\n")
	more := len(frames) - maxFrames
	var b strings.Builder
	for _, f := range frames[:min(len(frames), maxFrames)] {
		b.WriteString("\n    " + oneLine(f))
	}
	if more > 0 {
		fmt.Fprintf(&b, "\n    … and %s more", count(more, "frame"))
	}
	return b.String()
}

// palette are the colours of workers' numbers: those of ANSI that can be read on black and on white.
var palette = [...]int{36, 33, 35, 32, 34, 31}

func (f *textFormat) prefix(b *bytes.Buffer, worker uint32, toStdout bool) {
	if worker == 0 { // the guest that plays the master
		b.WriteString("[master] ")
		return
	}
	colour := f.colourErr
	if toStdout {
		colour = f.colourOut
	}
	if colour {
		fmt.Fprintf(b, "\x1b[%dm[%d]\x1b[0m ", palette[worker%uint32(len(palette))], worker)
		return
	}
	fmt.Fprintf(b, "[%d] ", worker)
}
