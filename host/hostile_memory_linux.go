//go:build hostile

package host

import (
	"reflect"

	"golang.org/x/sys/unix"
)

const (
	readExecute      = unix.PROT_READ | unix.PROT_EXEC
	readWriteExecute = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC
)

// memoryAttacks make code of data, and use memory that others have a part in.
var memoryAttacks = []attack{
	{"map-executable", "mmap", "a page for code", asks(unix.SYS_MMAP, 0, pageSize, readExecute, unix.MAP_PRIVATE|unix.MAP_ANON, minus(1), 0)},
	{"map-writable-executable", "mmap", "code that it writes", asks(unix.SYS_MMAP, 0, pageSize, readWriteExecute, unix.MAP_PRIVATE|unix.MAP_ANON, minus(1), 0)},
	{"map-shared-executable", "mmap", "code that it writes", asks(unix.SYS_MMAP, 0, pageSize, readWriteExecute, unix.MAP_SHARED|unix.MAP_ANON, minus(1), 0)},
	{"map-executable-hidden", "mmap", "a page for code, behind a bit that the kernel does not look at", asks(unix.SYS_MMAP, 0, pageSize, 1<<32|readExecute, unix.MAP_PRIVATE|unix.MAP_ANON, minus(1), 0)},
	{"make-executable", "mprotect", "what it has written as code", onPage(unix.SYS_MPROTECT, pageSize, readExecute)},
	{"make-only-executable", "mprotect", "what it has written as code", onPage(unix.SYS_MPROTECT, pageSize, unix.PROT_EXEC)},
	{"make-executable-by-key", "pkey_mprotect", "what it has written as code", onPage(unix.SYS_PKEY_MPROTECT, pageSize, readExecute, minus(1))},
	{"make-code-writable", "mprotect", "the host's own code, rewritten", func(*prisoner) error {
		code := reflect.ValueOf(findListener).Pointer() &^ (pageSize - 1)
		return ask(unix.SYS_MPROTECT, code, pageSize, readWriteExecute)
	}},
	{"remap-pages", "remap_file_pages", "other rights for what is mapped", onPage(unix.SYS_REMAP_FILE_PAGES, pageSize, 0, 0, 0)},
	{"read-means-execute", "personality", "everything that is readable as code", asks(unix.SYS_PERSONALITY, 0x400000)}, // READ_IMPLIES_EXEC
	{"no-randomness", "personality", "addresses that are known", asks(unix.SYS_PERSONALITY, 0x40000)},                  // ADDR_NO_RANDOMIZE
	{"map-page-zero", "mmap", "what the kernel finds when it follows a null pointer", asks(unix.SYS_MMAP, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED, minus(1), 0)},
	{"map-locked", "mmap", "memory that is never swapped", asks(unix.SYS_MMAP, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_LOCKED, minus(1), 0)},
	{"lock-memory", "mlock", "memory that is never swapped", onPage(unix.SYS_MLOCK, pageSize)},
	{"lock-all-memory", "mlockall", "memory that is never swapped", asks(unix.SYS_MLOCKALL, unix.MCL_FUTURE)},
	{"shadow-stack", "map_shadow_stack", "a stack that the kernel trusts", asks(unix.SYS_MAP_SHADOW_STACK, 0, pageSize, 0)},
	{"own-page-faults", "userfaultfd", "a kernel that waits for it", asks(unix.SYS_USERFAULTFD, unix.O_CLOEXEC)},
	{"shared-memory", "shmget", "memory that outlives it", asks(unix.SYS_SHMGET, 0, pageSize, ipcCreate|0o600)},
	{"attach-executable", "shmat", "a page for code", asks(unix.SYS_SHMAT, 0, 0, shmExecute)},
	{"remove-shared-memory", "shmctl", "others' shared memory gone", asks(unix.SYS_SHMCTL, 0, unix.IPC_RMID, 0)},
	{"semaphores", "semget", "semaphores of others", asks(unix.SYS_SEMGET, 0, 1, ipcCreate|0o600)},
	{"message-queue", "msgget", "a way to talk to others", asks(unix.SYS_MSGGET, 0, ipcCreate|0o600)},
	{"posix-queue", "mq_open", "a way to talk to others", func(p *prisoner) error {
		return ask(unix.SYS_MQ_OPEN, p.text(evidence), unix.O_CREAT|unix.O_RDWR, 0o600, 0)
	}},
	{"protection-keys", "pkey_alloc", "a key for its pages", asks(unix.SYS_PKEY_ALLOC, 0, 0)},
	{"seal-memory", "mseal", "memory that the host cannot give back", onPage(unix.SYS_MSEAL, pageSize, 0)},
	{"place-memory", "mbind", "another node's memory", onPage(unix.SYS_MBIND, pageSize, 0, 0, 0, 0)},
	{"poison-memory", "madvise", "a page of the machine taken out of use", onPage(unix.SYS_MADVISE, pageSize, unix.MADV_HWPOISON)},
}

const (
	ipcCreate  = 0o1000   // IPC_CREAT
	shmExecute = 0o100000 // SHM_EXEC
)

// onPage asks something of a fresh page.
func onPage(call uintptr, args ...uintptr) func(*prisoner) error {
	return func(*prisoner) error {
		at, err := page()
		if err != nil {
			return err
		}
		return ask(call, append([]uintptr{at}, args...)...)
	}
}
