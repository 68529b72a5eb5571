package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A filter is a classic BPF program that the kernel runs for each system call on struct seccomp_data (seccomp(2)):
//
//	0   nr     u32   the call
//	4   arch   u32   AUDIT_ARCH_…
//	8   ip     u64
//	16  args   6 × u64
//
// What it answers is an action. A call that is allowed whatever its arguments costs nothing at run time: since Linux 5.11
// the kernel remembers those and does not run the program.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArgs = 16

	// x32Bit marks calls of the x32 ABI, which share AUDIT_ARCH_X86_64. No call of another architecture has it.
	x32Bit = 0x40000000
)

// action is what the kernel does with a call, as in seccomp(2).
type action uint32

const (
	allow       action = 0x7fff0000 // SECCOMP_RET_ALLOW
	logCall     action = 0x7ffc0000 // SECCOMP_RET_LOG: allow, with a line in the audit log
	killProcess action = 0x80000000 // SECCOMP_RET_KILL_PROCESS, by SIGSYS
	errnoBase   action = 0x00050000 // SECCOMP_RET_ERRNO
)

func fails(e unix.Errno) action { return errnoBase | action(e) }

// rule says what becomes of some calls: then, if all conditions hold, else otherwise.
type rule struct {
	calls     []uintptr
	when      []condition
	then      action
	otherwise action
}

// condition is about one argument of a call, of which the lower 32 bits count: the kernel takes no more of any that is
// looked at here.
type condition struct {
	arg  uint32
	mask uint32   // 0: all bits
	in   []uint32 // one of these, under the mask
}

// is demands one of some values, and has that the bits of a mask have a value.
func is(arg uint32, values ...uint32) condition { return condition{arg: arg, in: values} }

func has(arg uint32, mask, value uint32) condition {
	return condition{arg: arg, mask: mask, in: []uint32{value}}
}

// assemble makes a program of rules, in order; the first that names a call decides. Other architectures and x32 end the
// process.
func assemble(rules []rule, rest action) ([]bpf.RawInstruction, error) {
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: uint32(killProcess)},
		bpf.LoadAbsolute{Off: offsetCall, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: x32Bit, SkipFalse: 1},
		bpf.RetConstant{Val: uint32(killProcess)},
	}
	for _, r := range rules {
		body := r.body()
		if len(body) > 255 {
			return nil, fmt.Errorf("assemble filter: a rule of %d instructions; a jump reaches 255", len(body))
		}
		for _, call := range r.calls {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(call), SkipFalse: uint8(len(body))})
			program = append(program, body...)
		}
	}
	program = append(program, bpf.RetConstant{Val: uint32(rest)})
	return bpf.Assemble(program)
}

// body is the instructions of one call, each way of which ends with an action.
func (r *rule) body() (body []bpf.Instruction) {
	for _, c := range r.when {
		body = append(body, bpf.LoadAbsolute{Off: offsetArgs + 8*c.arg, Size: 4})
		if c.mask != 0 {
			body = append(body, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask})
		}
		for i, v := range c.in {
			// Past the values that are left, and the action for none of them.
			body = append(body, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(c.in) - i)})
		}
		body = append(body, bpf.RetConstant{Val: uint32(r.otherwise)})
	}
	return append(body, bpf.RetConstant{Val: uint32(r.then)})
}

// install puts a program on every thread of this process (SECCOMP_FILTER_FLAG_TSYNC, Linux 3.17; TSYNC_ESRCH, 5.7). It needs
// no_new_privs on this thread, which TSYNC gives to the others.
func install(program []bpf.RawInstruction) error {
	// sock_filter has the layout of RawInstruction: u16, u8, u8, u32.
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
