/* callback — echo-messages with a callback: the host calls on_message for each while the program is in dispatch,
 * which returns when the master asks the worker to finish. Linked with --export-table. */
#include "../echo.h"

#include <errno.h>
#include <unistd.h>

#define MESSAGE_MAX (1 << 20)

static char body[MESSAGE_MAX];
static int32_t inbox;

static void on_message(void *context, uint32_t from, const void *data, uint32_t len, int32_t fd)
{
	(void)context;
	(void)from;
	if (fd >= 0)
		close(fd);
	echo(inbox, data, len);
}

int main(void)
{
	wcluster_errno e = wcluster_inbox(&inbox);
	if (e == 0)
		e = wcluster_on_message(on_message, NULL, body, sizeof body);
	if (e == 0)
		e = wcluster_dispatch(-1);
	if (e != ECANCELED) /* what it answers when the worker is asked to finish */
		fail("dispatch", e);
	return 0;
}
