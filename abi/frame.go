package abi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame is a header and a body. The header is 12 bytes, little-endian:
//
//	0        4      5       6       8        12
//	+--------+------+-------+-------+--------+------------- - -
//	| length | kind | flags |  fds  |  seq   |  body …
//	| u32    | u8   | u8    |  u16  |  u32   |  length bytes
//	+--------+------+-------+-------+--------+------------- - -
//
// length counts the body alone. fds counts the descriptors that travel beside this frame in SCM_RIGHTS. seq pairs a
// request with its answer and is 0 elsewhere. No flag is defined yet: flags must be 0.
const HeaderSize = 12

const (
	// MaxControl bounds the body of a control frame: the largest, Config, holds a worker's arguments and
	// environment, for which Linux itself allows 2 MiB beside an exec.
	MaxControl = 2 << 20

	// MaxSmallControl bounds the body of every control frame but Config, Report and Fault: an address and a path or two,
	// in the longest spelling that JSON has for them.
	MaxSmallControl = 64 << 10

	// DefaultMaxMessage is the largest message body unless the settings say otherwise.
	DefaultMaxMessage = 1 << 20

	// MaxMessageLimit is the largest value that the settings may ask for.
	MaxMessageLimit = 64 << 20

	// MaxFDs is how many descriptors one sendmsg(2) can carry: SCM_MAX_FD of Linux.
	MaxFDs = 253
)

// Header is the decoded head of a frame.
type Header struct {
	Length uint32
	Kind   Kind
	Flags  uint8
	FDs    uint16
	Seq    uint32
}

// ErrFrame is wrapped by every error that says a peer's bytes are not a frame. The peer is to be ended.
var ErrFrame = errors.New("malformed frame")

// AppendTo appends the header's 12 bytes to b.
func (h Header) AppendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.Length)
	b = append(b, byte(h.Kind), h.Flags)
	b = binary.LittleEndian.AppendUint16(b, h.FDs)
	return binary.LittleEndian.AppendUint32(b, h.Seq)
}

// DecodeHeader reads a header from the first HeaderSize bytes of b, which the caller has checked to be there, and
// answers the error of Check. Nothing is to be allocated on the word of a header that did not pass.
func DecodeHeader(b []byte, from Side, maxMessage uint32) (Header, error) {
	_ = b[HeaderSize-1] // one bounds check for all of it
	h := Header{
		Length: binary.LittleEndian.Uint32(b),
		Kind:   Kind(b[4]),
		Flags:  b[5],
		FDs:    binary.LittleEndian.Uint16(b[6:]),
		Seq:    binary.LittleEndian.Uint32(b[8:]),
	}
	return h, h.Check(from, maxMessage)
}

// Check holds the header against the table of kinds: the kind must exist and come from that side, its body and its
// descriptors must be within the kind's bounds, a message within maxMessage, and exactly requests and answers carry a
// seq.
func (h Header) Check(from Side, maxMessage uint32) error {
	rule := h.Kind.rule()
	switch {
	case rule == nil:
		return fmt.Errorf("%w: unknown kind %d", ErrFrame, uint8(h.Kind))
	case rule.from&from == 0:
		return fmt.Errorf("%w: %v is never sent by the %v", ErrFrame, h.Kind, from)
	case h.Flags != 0:
		return fmt.Errorf("%w: %v with flags %#x", ErrFrame, h.Kind, h.Flags)
	case h.Length > rule.maxBody(maxMessage):
		return fmt.Errorf("%w: %v of %d bytes, at most %d", ErrFrame, h.Kind, h.Length, rule.maxBody(maxMessage))
	case h.FDs > rule.fds:
		return fmt.Errorf("%w: %v with %d descriptors, at most %d", ErrFrame, h.Kind, h.FDs, rule.fds)
	case rule.answered && h.Seq == 0:
		return fmt.Errorf("%w: %v without a seq", ErrFrame, h.Kind)
	case !rule.answered && h.Seq != 0:
		return fmt.Errorf("%w: %v with seq %d, but it is neither request nor answer", ErrFrame, h.Kind, h.Seq)
	}
	return nil
}
