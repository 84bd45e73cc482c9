/* Counts the primes below a number. The pipeline beside it builds this twice and compares what the two say. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    long below = argc > 1 ? atol(argv[1]) : 100;
    long found = 0;
    for (long n = 2; n < below; n++) {
        int prime = 1;
        for (long d = 2; d * d <= n; d++) {
            if (n % d == 0) {
                prime = 0;
                break;
            }
        }
        found += prime;
    }
    printf("%ld\n", found);
    return 0;
}
