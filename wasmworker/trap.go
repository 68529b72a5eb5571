package wasmworker

import (
	"errors"
	"strings"
	"unicode"

	"github.com/tetratelabs/wazero/sys"

	"github.com/wcluster/wcluster/abi"
)

// Result is how a guest ended.
type Result struct {
	Code  int        // the exit code of the process
	Fault *abi.Fault // nil: the guest ended by itself
}

// MaxExitCode is the largest exit code of a Linux process. A guest's larger one becomes this one rather than its lowest
// byte, which may be 0 and would say success.
const MaxExitCode = 255

// stackMark is where wazero's text of a trap goes on with the Wasm stack.
const stackMark = "\nwasm stack trace:\n"

// resultOf turns what a call into the guest returned into how the guest ended.
func resultOf(err error, reason abi.FaultReason) Result {
	var exit *sys.ExitError
	switch {
	case err == nil:
		return Result{}
	case errors.As(err, &exit):
		return Result{Code: int(min(exit.ExitCode(), MaxExitCode))}
	}
	text, stack, _ := strings.Cut(err.Error(), stackMark)
	text = strings.TrimPrefix(text, "wasm error: ")
	text = strings.TrimSuffix(text, " (recovered by wazero)")
	return Result{Code: 1, Fault: &abi.Fault{
		Reason: reason,
		Text:   clip(plain(strings.ReplaceAll(text, "\n", "; "))),
		Stack:  clip(tidyStack(stack)),
	}}
}

// tidyStack takes wazero's indentation and the module's empty name off the frames.
func tidyStack(stack string) string {
	lines := strings.Split(strings.TrimRight(stack, "\n"), "\n")
	for i, l := range lines {
		lines[i] = plain(strings.TrimPrefix(strings.TrimPrefix(l, "\t"), "."))
	}
	return strings.Join(lines, "\n")
}

// plain replaces control characters, which a guest could play with on a terminal: it chooses the names of its functions
// and the message of its abort.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// clip bounds a text that the guest may have made long.
func clip(s string) string {
	if len(s) <= abi.MaxFaultText {
		return s
	}
	return strings.ToValidUTF8(s[:abi.MaxFaultText-len("…")], "") + "…"
}
