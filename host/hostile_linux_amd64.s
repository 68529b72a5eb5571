//go:build hostile

#include "textflag.h"

// func int80(call, a, b, c uint32) int64
TEXT ·int80(SB), NOSPLIT, $0-24
	MOVL call+0(FP), AX
	MOVL a+4(FP), BX
	MOVL b+8(FP), CX
	MOVL c+12(FP), DX
	INT  $0x80
	MOVLQSX AX, AX
	MOVQ AX, ret+16(FP)
	RET

// func idle(flags, stack uintptr) int64
TEXT ·idle(SB), NOSPLIT, $0-24
	MOVQ flags+0(FP), DI
	MOVQ stack+8(FP), SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $56, AX // clone
	SYSCALL
	TESTQ AX, AX
	JZ   child
	MOVQ AX, ret+16(FP)
	RET

child:
	XORL DI, DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $271, AX // ppoll
	SYSCALL
	JMP  child
