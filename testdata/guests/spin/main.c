/* spin — computes for ever and never calls the host again. */
int main(void)
{
	volatile unsigned turns = 0;
	for (;;)
		turns++;
}
