/* oom — takes all the memory it may have, then aborts. One byte of each page is touched: enough to be charged for
 * a page of the machine's, without filling a large machine. */
#include <stdio.h>
#include <stdlib.h>

#define PAGE 65536
#define STEP 16 /* pages, 1 MiB */

int main(void)
{
	for (;;) {
		size_t old = __builtin_wasm_memory_grow(0, STEP);
		if (old == (size_t)-1)
			break;
		for (size_t page = old; page < old + STEP; page++)
			*(volatile char *)(page * PAGE) = 1;
	}
	fprintf(stderr, "out of memory at %zu MiB\n", __builtin_wasm_memory_size(0) / STEP);
	abort();
}
