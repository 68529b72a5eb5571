package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/wcluster/wcluster/abi"
)

// maxQuoted bounds what an error repeats of a peer's text: errors are logged, and a body may have megabytes.
const maxQuoted = 200

// OurHello is the first frame that this build sends.
func OurHello() abi.Hello { return abi.Hello{Protocol: abi.Protocol, Build: abi.Build} }

// CheckHello judges a peer's first frame: it must be a hello of this protocol and this build.
func CheckHello(f Frame) error {
	if f.Kind != abi.KindHello {
		return fmt.Errorf("%w: the first frame is %v, not hello", abi.ErrFrame, f.Kind)
	}
	var h abi.Hello
	if err := Decode(f, &h); err != nil {
		return err
	}
	if ours := OurHello(); h != ours {
		return fmt.Errorf("%w: the other side is build %q with protocol %d, this is build %q with protocol %d: run master and workers from one binary",
			abi.ErrFrame, brief(h.Build), h.Protocol, ours.Build, ours.Protocol)
	}
	return nil
}

// Decode reads a control frame's body into v. Unknown fields are refused: both sides are of one build, so they are
// garbage or a lie.
func Decode(f Frame, v any) error {
	d := json.NewDecoder(bytes.NewReader(f.Body))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		// Not More: that takes a stray ']' or '}' for the end.
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("something follows the JSON value")
	}
	return fmt.Errorf("%w: body of %v: %s", abi.ErrFrame, f.Kind, brief(err.Error()))
}

func brief(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return s[:maxQuoted] + "…"
}
