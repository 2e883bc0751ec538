package gcbench;

/**
 * Keys 0 .. n-1 of which the r-th most popular is asked for in proportion to r^-exponent, popular keys spread
 * over the table. Inverse of the distribution function as Gray et al. 1994 approximate it.
 */
final class Zipf {
    private static final long SPREAD = 2654435761L; // a prime above any table size: r -> r * SPREAD mod n is one to one
    private final int n;
    private final double exponent;
    private final double total;
    private final double alpha;
    private final double eta;

    Zipf(int n, double exponent) {
        this.n = n;
        this.exponent = exponent;
        this.total = sum(n, exponent);
        this.alpha = 1 / (1 - exponent);
        this.eta = (1 - Math.pow(2.0 / n, 1 - exponent)) / (1 - sum(2, exponent) / total);
    }

    private static double sum(int n, double exponent) {
        double sum = 0;
        for (int rank = 1; rank <= n; rank++) {
            sum += Math.pow(rank, -exponent);
        }
        return sum;
    }

    /** The key at a uniform number in [0, 1). */
    int key(double uniform) {
        return (int) (rank(uniform) * SPREAD % n);
    }

    /** The popularity rank, 0 for the most popular key. */
    int rank(double uniform) {
        double u = uniform * total;
        if (u < 1) {
            return 0;
        }
        if (u < 1 + Math.pow(2, -exponent)) {
            return 1;
        }
        return Math.min(n - 1, (int) (n * Math.pow(eta * uniform - eta + 1, alpha)));
    }
}
