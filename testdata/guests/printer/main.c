/* printer — prints lines to stdout and stderr; the last has no newline. */
#include <stdio.h>

int main(void)
{
	puts("out 1");
	puts("out 2");
	fflush(stdout);
	fputs("err 1\n", stderr);
	fputs("err 2\n", stderr);
	fputs("out without newline", stdout);
	return 0;
}
