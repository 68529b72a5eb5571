//go:build linux

package main

import (
	"os"
	"time"
	"unicode/utf8"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

// record is something that is told: as JSON just as it stands here, as text in a line for people. Fields that do not
// belong to Event are absent.
type record struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`

	Worker uint32 `json:"worker,omitempty"` // whose event it is
	Pid    int    `json:"pid,omitempty"`    // fork, online

	Module string `json:"module,omitempty"` // compile
	Bytes  int64  `json:"bytes,omitempty"`  // compile: of the module

	Name    string `json:"name,omitempty"`    // listener
	Address string `json:"address,omitempty"` // listener, listening: as --listen reads it

	Stream string  `json:"stream,omitempty"` // output: "stdout" or "stderr"
	Text   *string `json:"text,omitempty"`   // output, message
	Base64 []byte  `json:"base64,omitempty"` // message: in place of text, when it is no UTF-8
	Cut    bool    `json:"cut,omitempty"`    // output: the line goes on in the next record, or ended without a newline

	Sandbox string          `json:"sandbox,omitempty"` // sandbox, online: what workers, or this one, are locked down with
	Asked   string          `json:"asked,omitempty"`   // sandbox: --sandbox
	Missing []missingRecord `json:"missing,omitempty"` // sandbox: layers that this host lacks

	Exit *exitRecord `json:"exit,omitempty"` // exit

	Replaces uint32 `json:"replaces,omitempty"` // replaced: the worker that ended

	Delay float64 `json:"delay,omitempty"` // restart, fork-error: seconds until the next try
	Count int     `json:"count,omitempty"` // degraded: workers that ended since it was last said
	Error string  `json:"error,omitempty"` // fork-error, refused: what a guest master asked for in vain

	Signal  string   `json:"signal,omitempty"`  // signal: which one came
	Lines   uint64   `json:"lines,omitempty"`   // lost: how many
	Summary *summary `json:"summary,omitempty"` // summary
}

// missingRecord is a layer of the sandbox that is not there, or a limit that has no effect.
type missingRecord struct {
	Layer string `json:"layer"`
	Error string `json:"error"` // why
}

// exitRecord is how a worker ended.
type exitRecord struct {
	Code    *int    `json:"code,omitempty"`   // absent when a signal ended it
	Signal  string  `json:"signal,omitempty"` // such as "SIGKILL"
	Reason  string  `json:"reason,omitempty"` // the class of what went wrong: "trap", "start", "stuck", …
	Fault   string  `json:"fault,omitempty"`  // and its text
	Stack   string  `json:"stack,omitempty"`  // the Wasm stack, a line per frame
	Suicide bool    `json:"suicide"`          // it was told to leave, or chose to
	Cut     int     `json:"cut,omitempty"`    // connections that were still open at the end of its time
	Seconds float64 `json:"seconds"`          // from fork to end
}

// summary is what was served in all.
type summary struct {
	Workers  int    `json:"workers"`  // forked, replacements included
	Restarts int    `json:"restarts"` // replacements
	Accepted uint64 `json:"accepted"` // connections, by the workers' own count
	Cut      int    `json:"cut"`      // of them, at the end of a worker's time to leave
}

// reporter tells what happens: one line a record. It is called from the dispatcher, from the workers' streams and from
// run itself.
type reporter struct {
	stdout, stderr *lines
	format         format
	all            []*lines
	messages       bool   // --on-message print
	holds          string // what workers are locked down with; set before the first is forked
}

// format makes the line of a record, with its newline, or nil when the record is not told. toStdout says where it goes.
type format interface {
	line(r *record) (text []byte, toStdout bool)
}

func newReporter(stdout, stderr *os.File, f format, messages bool) *reporter {
	r := &reporter{format: f, messages: messages}
	note := func(lost uint64) []byte {
		text, _ := f.line(&record{Time: time.Now(), Event: "lost", Lines: lost})
		return text
	}
	r.stdout = newLines(stdout, note)
	r.stderr = r.stdout
	r.all = []*lines{r.stdout}
	if !sameFile(stdout, stderr) { // one terminal gets everything in order
		r.stderr = newLines(stderr, note)
		r.all = append(r.all, r.stderr)
	}
	return r
}

func sameFile(a, b *os.File) bool {
	aInfo, aErr := a.Stat()
	bInfo, bErr := b.Stat()
	return aErr == nil && bErr == nil && os.SameFile(aInfo, bInfo)
}

// close waits until everything has been written, but not beyond limit.
func (r *reporter) close(limit <-chan struct{}) {
	for _, l := range r.all {
		l.close(limit)
	}
}

// tell is for what must not wait.
func (r *reporter) tell(rec record) {
	rec.Time = time.Now()
	line, toStdout := r.format.line(&rec)
	switch {
	case line == nil:
	case toStdout:
		r.stdout.say(line)
	default:
		r.stderr.say(line)
	}
}

// output is for a worker's line: it waits for room, so that a worker writes no faster than somebody reads.
func (r *reporter) output(o master.OutputLine) {
	text := string(o.Text)
	line, toStdout := r.format.line(&record{
		Time: time.Now(), Event: "output", Worker: o.Worker.ID(), Stream: o.Stream.String(), Text: &text, Cut: o.Cut,
	})
	if toStdout {
		r.stdout.put(line)
	} else {
		r.stderr.put(line)
	}
}

func (r *reporter) listeners(names []master.Listener, bound []abi.Address) {
	for i, a := range bound {
		r.tell(record{Event: "listener", Name: names[i].Name, Address: a.String()})
	}
}

// sandbox tells what every worker will be locked down with. One that is not is ended.
func (r *reporter) sandbox(s master.SandboxStatus) {
	r.holds = string(s.Holds)
	rec := record{Event: "sandbox", Sandbox: r.holds, Asked: string(s.Asked)}
	for _, l := range s.Layers {
		if l.Error != "" {
			rec.Missing = append(rec.Missing, missingRecord{string(l.Layer), l.Error})
		}
	}
	if s.NoCPU != "" {
		rec.Missing = append(rec.Missing, missingRecord{"cpu", s.NoCPU})
	}
	r.tell(rec)
}

// event tells of an event of the cluster.
func (r *reporter) event(e master.Event) {
	rec := record{Event: e.Kind.String(), Worker: e.Worker.ID()}
	switch e.Kind {
	case master.EventFork:
		rec.Pid = e.Worker.Process().Pid()
	case master.EventOnline:
		rec.Pid, rec.Sandbox = e.Worker.Process().Pid(), r.holds
	case master.EventListening:
		rec.Address = listeningOn(e.Address)
	case master.EventMessage:
		if !r.messages {
			return
		}
		rec.message(e.Message)
	case master.EventExit:
		rec.Exit = newExitRecord(e.Exit)
	}
	r.tell(rec)
}

// note tells of what the supervisor does. That a worker ended is told as an event, and why none could start as the
// error that ends the command.
func (r *reporter) note(n supervisor.Note) {
	switch n.Kind {
	case supervisor.NoteRestart:
		r.tell(record{Event: "restart", Worker: n.Worker, Delay: n.Delay.Seconds()})
	case supervisor.NoteReplaced:
		r.tell(record{Event: "replaced", Worker: n.Worker, Replaces: n.Replaces})
	case supervisor.NoteForkError:
		r.tell(record{Event: "fork-error", Error: n.Err.Error(), Delay: n.Delay.Seconds()})
	case supervisor.NoteDegraded:
		r.tell(record{Event: "degraded", Count: n.Count})
	case supervisor.NoteRecovered:
		r.tell(record{Event: "recovered"})
	}
}

func (r *record) message(body []byte) {
	if !utf8.Valid(body) {
		r.Base64 = body
		return
	}
	text := string(body)
	r.Text = &text
}

// listeningOn writes an address as --listen reads it.
func listeningOn(a master.ListeningAddress) string {
	if a.AddressType == "unix" {
		return "unix://" + a.Address
	}
	return "tcp://" + a.String()
}

func newExitRecord(e *master.Exit) *exitRecord {
	x := &exitRecord{Suicide: e.Suicide, Cut: e.Cut, Seconds: e.Duration.Seconds()}
	if e.Signal != 0 {
		x.Signal = signalName(e.Signal)
	} else {
		x.Code = &e.Code
	}
	if e.Fault != nil {
		x.Reason, x.Fault, x.Stack = string(e.Fault.Reason), e.Fault.Text, e.Fault.Stack
	}
	return x
}
