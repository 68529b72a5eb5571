package wasmworker

import (
	"fmt"
	"math"
	"strconv"

	"github.com/wcluster/wcluster/abi"
)

// memoryLimit is how much linear memory the guest may have, and whether it has asked for more. Our own allocator holds
// it, not wazero's limit of pages: so we know what was refused, and a module that its own declared maximum refused, which
// never gets as far as the allocator, is not blamed on us.
type memoryLimit struct {
	bytes   uint64 // whole pages
	refused bool
}

// limitOf is the limit of so many bytes, rounded down to whole pages; 0: as much as there is.
func limitOf(bytes int64) memoryLimit {
	if bytes <= 0 {
		return memoryLimit{bytes: math.MaxUint64}
	}
	return memoryLimit{bytes: uint64(bytes) &^ (abi.PageSize - 1)}
}

// blame tells of a guest that ended badly after it was refused memory that this is likely why, and keeps what is known
// beside.
func (l *memoryLimit) blame(r Result) Result {
	if !l.refused || r.Code == 0 && r.Fault == nil {
		return r
	}
	text, stack := fmt.Sprintf("exit code %d", r.Code), ""
	if r.Fault != nil {
		text, stack = r.Fault.Text, r.Fault.Stack
	}
	return Result{Code: r.Code, Fault: &abi.Fault{
		Reason: abi.FaultLimit,
		Text:   clip(fmt.Sprintf("memory limit: more than %s was refused, then: %s", mebibytes(l.bytes), text)),
		Stack:  stack,
	}}
}

// initialError says that a module's first memory is larger than the limit.
type initialError struct{ wants, limit uint64 }

func (e *initialError) Error() string {
	return fmt.Sprintf("memory limit: the module begins with %s, the limit is %s; raise --memory", mebibytes(e.wants), mebibytes(e.limit))
}

// mebibytes is exact: a page is a sixteenth of one.
func mebibytes(bytes uint64) string {
	return strconv.FormatFloat(float64(bytes)/(1<<20), 'f', -1, 64) + " MiB"
}
