/* hog — opens its inbox and never reads it, so that what the master sends piles up. It does not hear that it should
 * finish either. */
#include <unistd.h>

#include "../../../guests/sdk/c/wcluster.h"

int main(void)
{
	int32_t inbox;
	if (wcluster_inbox(&inbox) != 0)
		return 1;
	for (;;)
		sleep(3600);
}
