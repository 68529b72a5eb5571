package abi

import (
	"encoding/binary"
	"encoding/json"
)

// The master role of a guest. Its process has a channel like a worker's, and asks the master with Request frames to do
// what the cluster API has a master do; the master tells it of its workers with Event frames, and messages of theirs come
// in Post frames.

// PostHead is how many bytes of a Post's body come before the message: the worker's id, little-endian. From the master it
// is who has sent the message, from the guest who is to get it.
const PostHead = 4

// AppendPost appends the body of a Post.
func AppendPost(b []byte, worker uint32, message []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(b, worker), message...)
}

// CutPost splits the body of a Post; ok is false when it is too short to be one.
func CutPost(body []byte) (worker uint32, message []byte, ok bool) {
	if len(body) < PostHead {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint32(body), body[PostHead:], true
}

// EventCost is what an Event counts for in the window of the guest that it is sent to, whatever its length.
const EventCost = 1 << 10

// Op is what a Request wants.
type Op string

// The operations. Target is a worker's id, where one is needed; the answer's Errno is ESRCH when there is none.
const (
	OpSetup         Op = "setup"          // Setup; once, permanently
	OpSettings      Op = "settings"       // answered with Setup
	OpFork          Op = "fork"           // Env; answered with ID and Pid
	OpDisconnect    Op = "disconnect"     // of Target
	OpDisconnectAll Op = "disconnect-all" // of the cluster
	OpDestroy       Op = "destroy"        // of Target
	OpKill          Op = "kill"           // of Target, with Signal
)

// Request is what a guest in the master role asks for.
type Request struct {
	Op     Op       `json:"op"`
	Target uint32   `json:"target,omitempty"`
	Signal int      `json:"signal,omitempty"` // 1 to 64
	Env    []string `json:"env,omitempty"`    // K=V
	Setup  *Setup   `json:"setup,omitempty"`
}

// Setup is what a guest may set up, as in the cluster API.
type Setup struct {
	Exec   string   `json:"exec"`   // a module's name, of those that the command was given; "" is the guest's own
	Args   []string `json:"args"`   // nil: the guest's own
	Silent bool     `json:"silent"` // the workers' output is dropped
}

// Text is s as a guest reads it: JSON. It is empty for nil.
func (s *Setup) Text() []byte {
	if s == nil {
		return nil
	}
	text, _ := json.Marshal(s) // strings and booleans: it cannot fail
	return text
}

// MaxSetup bounds the text that a guest sets up with, and its environment for a fork, each in bytes.
const MaxSetup = 1 << 20

// Result answers a Request.
type Result struct {
	Errno Errno  `json:"errno"`
	Error string `json:"error,omitempty"` // the same for people, where there is more to say
	ID    uint32 `json:"id,omitempty"`    // fork: the worker's
	Pid   int    `json:"pid,omitempty"`   // fork: its process's
	Setup *Setup `json:"setup,omitempty"` // settings
}

// Event tells a guest in the master role what has happened to a worker.
type Event struct {
	Kind    uint32 `json:"kind"` // RecordSetup …
	Worker  uint32 `json:"worker,omitempty"`
	Pid     int    `json:"pid,omitempty"`     // fork
	Address string `json:"address,omitempty"` // listening: as ParseAddress reads it
	Code    int    `json:"code"`              // exit, death: -1 when a signal ended it
	Signal  int    `json:"signal"`            // exit, death
	Suicide bool   `json:"suicide"`           // disconnecting, disconnect, exit, death
	Fault   string `json:"fault,omitempty"`   // exit, death: the beginning of why, where it is known
	Setup   *Setup `json:"setup,omitempty"`   // setup
}
