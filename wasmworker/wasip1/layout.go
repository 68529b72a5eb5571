package wasip1

import "encoding/binary"

// The records of preview 1 in guest memory, little-endian, as wasm32 lays them out.
//
// subscription, 48 bytes:
//
//	0        8     16       24         32           40
//	+--------+-----+--------+----------+------------+-------+----
//	|userdata| tag |clock id| timeout  | precision  | flags |       tag 0: clock (flags 1: absolute)
//	| u64    | u8  |fd u32  | u64      | u64        | u16   |       tag 1: fd_read, 2: fd_write
//	+--------+-----+--------+----------+------------+-------+----
//
// event, 32 bytes:
//
//	0        8      10     16       24
//	+--------+------+------+--------+-------+----
//	|userdata| errno| type | nbytes | flags |        flags 1: hangup
//	| u64    | u16  | u8   | u64    | u16   |
//	+--------+------+------+--------+-------+----
//
// fdstat, 24 bytes:                          filestat, 64 bytes:
//
//	0        2       8        16              0    8    16      24    32   40   48   56
//	+--------+-------+--------+--------+      +----+----+-------+-----+----+----+----+----+
//	|filetype| flags | rights | inherit|      |dev |ino |filetyp|nlink|size|atim|mtim|ctim|
//	| u8     | u16   | u64    | u64    |      |u64 |u64 | u8    | u64 |u64 |u64 |u64 |u64 |
//	+--------+-------+--------+--------+      +----+----+-------+-----+----+----+----+----+
//
// prestat, 8 bytes: {tag u8, name length u32 at 4}. iovec and ciovec, 8 bytes: {pointer u32, length u32}.
const (
	subscriptionSize = 48
	eventSize        = 32
	fdstatSize       = 24
	filestatSize     = 64
	prestatSize      = 8
	iovecSize        = 8
)

// Clock ids.
const (
	clockRealtime  = 0
	clockMonotonic = 1
	clockProcess   = 2
	clockThread    = 3
)

// Tags of a subscription, and types of an event.
const (
	eventClock   = 0
	eventFdRead  = 1
	eventFdWrite = 2
)

const (
	subclockAbsolute = 1 // in the flags of a clock subscription
	eventHangup      = 1 // in the flags of an event
)

// File types.
const (
	filetypeUnknown      = 0
	filetypeBlockDevice  = 1
	filetypeCharDevice   = 2
	filetypeDirectory    = 3
	filetypeRegular      = 4
	filetypeSocketDgram  = 5
	filetypeSocketStream = 6
	filetypeSymlink      = 7
)

// Flags of a descriptor (fdflags).
const (
	fdflagAppend   = 1 << 0
	fdflagDsync    = 1 << 1
	fdflagNonblock = 1 << 2
	fdflagRsync    = 1 << 3
	fdflagSync     = 1 << 4
)

// Rights.
const (
	rightFdDatasync         = 1 << 0
	rightFdRead             = 1 << 1
	rightFdSeek             = 1 << 2
	rightFdFdstatSetFlags   = 1 << 3
	rightFdSync             = 1 << 4
	rightFdTell             = 1 << 5
	rightFdWrite            = 1 << 6
	rightFdAdvise           = 1 << 7
	rightFdAllocate         = 1 << 8
	rightFdFilestatGet      = 1 << 21
	rightFdFilestatSetSize  = 1 << 22
	rightFdFilestatSetTimes = 1 << 23
	rightPollFdReadwrite    = 1 << 27
	rightSockShutdown       = 1 << 28
	rightSockAccept         = 1 << 29
)

// prestatSocket is the tag of a preopened descriptor that is no directory. wasi-libc and Go skip such an entry and go
// on; an EBADF would end their search and hide every mount behind the socket.
const prestatSocket = 1

// Flags of sock_recv (riflags), its answer (roflags), and of sock_shutdown (sdflags).
const (
	riflagPeek      = 1 << 0
	riflagWaitall   = 1 << 1
	roflagTruncated = 1 << 0
	sdflagRead      = 1 << 0
	sdflagWrite     = 1 << 1
)

// Fdstat is what fd_fdstat_get answers.
type Fdstat struct {
	Filetype   uint8
	Flags      uint16
	Rights     uint64
	Inheriting uint64
}

func (st *Fdstat) encode(b []byte) {
	clear(b[:fdstatSize])
	b[0] = st.Filetype
	binary.LittleEndian.PutUint16(b[2:], st.Flags)
	binary.LittleEndian.PutUint64(b[8:], st.Rights)
	binary.LittleEndian.PutUint64(b[16:], st.Inheriting)
}

// Filestat is what fd_filestat_get answers. Times are in nanoseconds since 1970.
type Filestat struct {
	Dev, Ino         uint64
	Filetype         uint8
	Nlink, Size      uint64
	Atim, Mtim, Ctim uint64
}

func (st *Filestat) encode(b []byte) {
	clear(b[:filestatSize])
	binary.LittleEndian.PutUint64(b[0:], st.Dev)
	binary.LittleEndian.PutUint64(b[8:], st.Ino)
	b[16] = st.Filetype
	binary.LittleEndian.PutUint64(b[24:], st.Nlink)
	binary.LittleEndian.PutUint64(b[32:], st.Size)
	binary.LittleEndian.PutUint64(b[40:], st.Atim)
	binary.LittleEndian.PutUint64(b[48:], st.Mtim)
	binary.LittleEndian.PutUint64(b[56:], st.Ctim)
}

// Subscription is one thing that poll_oneoff waits for.
type Subscription struct {
	Userdata uint64
	Tag      uint8
	Clock    uint32 // tag clock
	Timeout  uint64
	Flags    uint16
	Fd       uint32 // tags fd_read, fd_write

	due   int64 // of a clock, on the poller's
	errno Errno // why a clock cannot be waited for
}

// wall says that the subscription is for a time of day.
func (sub *Subscription) wall() bool {
	return sub.Clock == clockRealtime && sub.Flags&subclockAbsolute != 0
}

func (sub *Subscription) decode(b []byte) {
	sub.Userdata = binary.LittleEndian.Uint64(b)
	sub.Tag = b[8]
	sub.Clock = binary.LittleEndian.Uint32(b[16:])
	sub.Fd = sub.Clock
	sub.Timeout = binary.LittleEndian.Uint64(b[24:])
	sub.Flags = binary.LittleEndian.Uint16(b[40:])
}

// Event is one answer of poll_oneoff.
type Event struct {
	Userdata uint64
	Errno    Errno
	Type     uint8
	Nbytes   uint64
	Flags    uint16
}

func (ev *Event) encode(b []byte) {
	clear(b[:eventSize])
	binary.LittleEndian.PutUint64(b, ev.Userdata)
	binary.LittleEndian.PutUint16(b[8:], uint16(ev.Errno))
	b[10] = ev.Type
	binary.LittleEndian.PutUint64(b[16:], ev.Nbytes)
	binary.LittleEndian.PutUint16(b[24:], ev.Flags)
}
