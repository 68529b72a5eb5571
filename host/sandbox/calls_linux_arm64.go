package sandbox

import "golang.org/x/sys/unix"

// auditArch is AUDIT_ARCH_AARCH64.
const auditArch = unix.AUDIT_ARCH_AARCH64

// The calls of amd64 that newer architectures do not have: none.
var (
	alwaysHere  []uintptr
	openingHere []uintptr
	writingHere = []uintptr{unix.SYS_RENAMEAT}
	fatalHere   = []uintptr{unix.SYS_KEXEC_FILE_LOAD}
)
