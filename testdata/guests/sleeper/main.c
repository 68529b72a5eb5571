/* sleeper — does nothing, for ever: what it costs is what an idle worker costs. */
#include <unistd.h>

int main(void)
{
	for (;;)
		sleep(3600);
}
