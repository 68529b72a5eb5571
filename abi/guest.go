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

// InboxWindow bounds what the master sends to a worker that has not taken it from its inbox yet, headers included.
// Control frames do not count, so a full inbox never keeps a worker from hearing that it should stop.
const InboxWindow = 4 << 20

// MaxWait is the most events that one wait answers.
const MaxWait = 1024
