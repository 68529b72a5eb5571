//go:build !hostile

package host

import (
	"context"

	"github.com/wcluster/wcluster/wasmworker"
)

// runGuest runs the guest to its end. What a process looks like whose guest has broken out is in hostile_linux.go, which
// only tests build.
func (w *worker) runGuest(ctx context.Context) wasmworker.Result { return w.machine.Run(ctx) }
