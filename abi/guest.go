package abi

// Constants of the guest ABI that both the host and Go guests need; ABI.md explains them.

// ImportModule is the name of the module that guests import from.
const ImportModule = "wcluster"

// Flags of listen.
const (
	ListenIPv6Only uint32 = 1 << 1 // tcp://[::]: IPv4 connections are not taken as well
)

// Interests of watch, and the ready word of wait.
const (
	WatchRead   uint32 = 1 << 0
	WatchWrite  uint32 = 1 << 1
	WatchHangup uint32 = 1 << 2 // reported only
	WatchError  uint32 = 1 << 3 // reported only
)

// EventSize is the size of a record that wait stores: {token u64, fd i32, ready u32}.
const EventSize = 16

// RecordSize is the size of the record that receive stores: {kind u32, from u32, len u32, fd i32}.
const RecordSize = 16

// Kinds of inbox record.
const (
	RecordMessage    uint32 = 1 // a message: len bytes follow
	RecordDisconnect uint32 = 2 // the worker is to finish and leave; len is 0
)

// Kinds of inbox record in the master role: the events of the cluster API. from is the worker, 0 for setup.
const (
	RecordSetup         uint32 = 16 // the settings took effect; the body is a Setup in JSON
	RecordFork          uint32 = 17 // the body is the process id, u32
	RecordOnline        uint32 = 18
	RecordListening     uint32 = 19 // the body is the address, as text
	RecordDisconnecting uint32 = 20
	RecordDisconnected  uint32 = 21
	RecordExit          uint32 = 22 // the body is an exit record, see ExitSize, then the fault's text
	RecordDeath         uint32 = 23 // the same, under its older name
)

// ExitSize is the size of what begins the body of an exit: {code i32, signal u32, suicide u32}. code is -1 when a signal
// ended the process, else signal is 0; suicide is 0 or 1.
const ExitSize = 12

// WorkerInfoSize is the size of the record that worker_info stores: {id u32, state u32, pid u32, suicide u32}. suicide is
// 0 while it is not set, then 1 for false and 2 for true.
const WorkerInfoSize = 16

// The states of a worker, as the events that the guest has taken tell.
const (
	StateForked        uint32 = 0
	StateOnline        uint32 = 1
	StateListening     uint32 = 2
	StateDisconnecting uint32 = 3
	StateDisconnected  uint32 = 4
)

// InboxWindow bounds what the master sends to a worker that has not taken it from its inbox yet, headers included.
// Control frames do not count, so a full inbox never keeps a worker from hearing that it should stop.
const InboxWindow = 4 << 20

// MaxWait is the most events that one wait answers.
const MaxWait = 1024
