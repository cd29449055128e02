/*
 * The program of a job that writes: blocks of one size, flat out or at a rate, so much or so long.
 *
 *     writer BLOCK_BYTES TOTAL_BYTES BYTES_PER_S SECONDS GATE
 *
 * A number that is 0 sets no limit. With GATE 1 it stops itself first, until SIGCONT. At a rate it keeps to the clock and not to
 * a pause: what it could not write in time, it writes later.
 *
 * Runs in: a job, and its peers outside of one. A block is the alphabet over and over, its last byte a newline.
 */
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	long block = atol(argv[1]), total = atol(argv[2]), rate = atol(argv[3]), seconds = atol(argv[4]);
	char *bytes = malloc(block);
	for (long i = 0; i < block; i++)
		bytes[i] = 'a' + i % 26;
	bytes[block - 1] = '\n';
	if (atol(argv[5]))
		raise(SIGSTOP);
	double began = now();
	long written = 0;
	while (!total || written < total) {
		/* A clock that is read for each 100 bytes would be a part of what is measured. */
		if ((seconds || rate) && (rate || written / block % 64 == 0)) {
			double passed = now() - began;
			if (seconds && passed >= seconds)
				break;
			if (rate && written >= passed * rate) {
				double rest = (written + block) / (double)rate - passed;
				struct timespec pause = {(time_t)rest, (long)((rest - (time_t)rest) * 1e9)};
				nanosleep(&pause, NULL);
				continue;
			}
		}
		for (long done = 0; done < block;) {
			ssize_t count = write(STDOUT_FILENO, bytes + done, block - done);
			if (count < 0)
				return 1;
			done += count;
		}
		written += block;
	}
	return 0;
}
