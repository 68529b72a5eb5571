package host

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
	"github.com/wcluster/wcluster/host/sandbox"
	"github.com/wcluster/wcluster/wasmworker"
)

// runCompiler is the role "compile": it compiles one module into an empty directory, answers what the module is, and
// ends. The master never parses a module itself.
func runCompiler() int {
	return errand(abi.KindCompile, abi.KindCompiled, func(f ipc.Frame) (any, error) { return compileOne(f) })
}

func compileOne(f ipc.Frame) (abi.Report, error) {
	var job abi.Compile
	if err := ipc.Decode(f, &job); err != nil {
		return abi.Report{}, err
	}
	if len(f.FDs) != 1 {
		return abi.Report{}, fmt.Errorf("%w: compile with %d descriptors", abi.ErrFrame, len(f.FDs))
	}
	cage, err := sandbox.Enter(sandbox.Config{Sandbox: job.Sandbox, CodeDir: job.CacheDir, WriteCode: true})
	if err != nil {
		return abi.Report{}, err
	}
	module, err := mapModule(f.FDs[0].Int())
	if err != nil {
		return abi.Report{}, err
	}
	return wasmworker.Inspect(context.Background(), module, cage.CodeDir, job.Debug)
}

// mapModule maps the module's bytes, which are a sealed memfd: nobody changes them any more. An empty file, which cannot
// be mapped, is an empty slice.
func mapModule(fd int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("read module: %w", os.NewSyscallError("fstat", err))
	}
	if st.Size == 0 {
		return nil, nil
	}
	b, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", os.NewSyscallError("mmap", err))
	}
	return b, nil
}
