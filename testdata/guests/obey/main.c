/* obey — does what each message says, a word each: "disconnect", "destroy", "trap", or "exit" and a code; anything else it
 * sends back. It exits 0 when the master asks it to finish. */
#include "../echo.h"

static char text[256];

static int is(const char *word)
{
	return strcmp(text, word) == 0;
}

static void obey(int32_t inbox, uint32_t len)
{
	if (is("disconnect")) {
		wcluster_errno e = wcluster_disconnect(0);
		if (e != 0)
			fail("disconnect", e);
	} else if (is("destroy")) {
		fail("destroy", wcluster_destroy(0)); /* it does not return */
	} else if (is("trap")) {
		__builtin_trap();
	} else if (strncmp(text, "exit ", 5) == 0) {
		exit(atoi(text + 5));
	} else {
		echo(inbox, text, len);
	}
}

int main(void)
{
	int32_t inbox;
	wcluster_errno e = wcluster_inbox(&inbox);
	if (e != 0)
		fail("inbox", e);
	for (;;) {
		wcluster_record record;
		e = wcluster_receive(text, sizeof text - 1, &record);
		if (e == EAGAIN) {
			wait_for(inbox, WCLUSTER_READ);
			continue;
		}
		if (e != 0)
			fail("receive", e);
		if (record.kind == WCLUSTER_RECORD_DISCONNECT)
			return 0;
		text[record.len] = 0;
		obey(inbox, record.len);
	}
}
