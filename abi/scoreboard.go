package abi

// The scoreboard is one page of shared memory per worker. The worker stores, the master loads; neither needs a system
// call for it, and a guest that computes for ever does not stop its figures from being read. Every field is an aligned
// little-endian u64 at a fixed offset:
//
//	offset  field
//	  0     calls        host calls that the guest has made
//	  8     state        a State
//	 16     connections  open now
//	 24     accepted     connections ever accepted
//	 32     bytesIn      read from connections
//	 40     bytesOut     written to connections
//	 48     messagesIn   messages that the guest has taken from its inbox
//	 56     messagesOut  messages that the guest has sent
//	 64     memory       bytes of guest memory
//	 72     consumed     bytes of messages (header and body) that the guest has taken from its inbox
//
// The worker may be hostile: what stands here is its own word and only ever harms itself.
const ScoreboardSize = 4096

const (
	BoardCalls       = 0
	BoardState       = 8
	BoardConnections = 16
	BoardAccepted    = 24
	BoardBytesIn     = 32
	BoardBytesOut    = 40
	BoardMessagesIn  = 48
	BoardMessagesOut = 56
	BoardMemory      = 64
	BoardConsumed    = 72
)

// State is what a worker's thread is doing.
type State uint64

const (
	StateStarting State = iota // loading the module
	StateGuest                 // in guest code, or in a host call that does not wait
	StateWaiting               // in epoll_pwait2
	StateFile                  // in a call on a file, which the kernel may hold for long
)
