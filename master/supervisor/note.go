package supervisor

import (
	"fmt"
	"time"

	"github.com/wcluster/wcluster/master"
)

// NoteKind says what a Note is about.
type NoteKind uint8

// What is worth a line in the log.
const (
	NoteRestart   NoteKind = 1 + iota // a worker has ended and is replaced after Delay
	NoteReplaced                      // a worker has taken the place of Replaces; not said while degraded
	NoteEnd                           // a worker has ended and is not replaced
	NoteForkError                     // a worker could not be forked; tried again after Delay
	NoteDegraded                      // restarts come too fast; again at most every 10 s while it lasts, with Count
	NoteRecovered                     // the cluster is not degraded any more
	NoteGivenUp                       // no worker could start
)

// Note is something that a supervisor did or saw. A degraded cluster makes one at most every 10 s.
type Note struct {
	Kind     NoteKind
	Worker   uint32        // id of the worker that ended, or, with NoteReplaced, of the new one; else 0
	Replaces uint32        // NoteReplaced: id of the worker that ended
	Exit     *master.Exit  // how; nil where none did
	Err      error         // of NoteForkError
	Delay    time.Duration // until the next try
	Count    int           // NoteDegraded: workers that ended, or could not be forked, since the last note
}

// String is one line, without a newline.
func (n Note) String() string {
	switch n.Kind {
	case NoteRestart:
		return fmt.Sprintf("worker %d: %v; restarting in %v", n.Worker, n.Exit, round(n.Delay))
	case NoteReplaced:
		return fmt.Sprintf("worker %d replaces worker %d", n.Worker, n.Replaces)
	case NoteEnd:
		return fmt.Sprintf("worker %d: %v", n.Worker, n.Exit)
	case NoteForkError:
		return fmt.Sprintf("%v; trying again in %v", n.Err, round(n.Delay))
	case NoteDegraded:
		return fmt.Sprintf("degraded: %d ended too soon, the last: %s; restarting more slowly", n.Count, n.last())
	case NoteRecovered:
		return "recovered"
	case NoteGivenUp:
		return "giving up: " + n.last()
	default:
		return fmt.Sprintf("note %d", n.Kind)
	}
}

func (n Note) last() string {
	if n.Err != nil {
		return n.Err.Error()
	}
	return fmt.Sprintf("worker %d: %v", n.Worker, n.Exit)
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// State is how a supervised cluster is.
type State uint8

// The states.
const (
	Running State = iota
	Degraded
	Stopping
	Ended
)

var stateNames = [...]string{"running", "degraded", "stopping", "ended"}

// String is the state's name, such as "degraded".
func (s State) String() string { return stateNames[s] }

// Status is a snapshot.
type Status struct {
	State    State
	Workers  int // wanted
	Alive    int // forked and not ended
	Online   int // of those, online
	Restarts int // ever
}

// Result is how a supervised cluster ended.
type Result struct {
	// Code is the worst of the exit codes of workers that were not replaced, 128 + n for one that signal n ended. An end
	// by choice counts as 0, unless the worker had to be killed for it.
	Code int

	// Err is why no worker could start, or nil.
	Err error
}

// codeOf is an exit as a shell would tell it.
func codeOf(e *master.Exit) int {
	switch {
	case e.Suicide && e.Fault == nil && e.Signal != 0:
		return 0
	case e.Signal != 0:
		return 128 + int(e.Signal)
	case e.Fault != nil:
		return max(e.Code, 1)
	default:
		return e.Code
	}
}
