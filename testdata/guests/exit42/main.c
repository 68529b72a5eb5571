/* exit42 — exits with the code 42. */
#include <stdlib.h>

int main(void)
{
	exit(42);
}
