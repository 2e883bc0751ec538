package gcbench;

/** Counts of nanoseconds in log-linear buckets: exact below 256 ns, within 0.4 % above, quantiles included. */
final class Histogram {
    private static final int PER_OCTAVE = 128;
    private static final int OCTAVE_BITS = 7;
    private final long[] counts = new long[256 + PER_OCTAVE * 56];
    private long count;
    private long max;
    private double sum;

    void record(long nanoseconds) {
        long value = Math.max(0, nanoseconds);
        counts[bucket(value)]++;
        count++;
        sum += value;
        max = Math.max(max, value);
    }

    void add(Histogram other) {
        for (int i = 0; i < counts.length; i++) {
            counts[i] += other.counts[i];
        }
        count += other.count;
        sum += other.sum;
        max = Math.max(max, other.max);
    }

    long count() {
        return count;
    }

    long max() {
        return max;
    }

    double mean() {
        return count == 0 ? Double.NaN : sum / count;
    }

    /** The smallest recorded value that a share q of all values does not exceed, to the width of its bucket. */
    double quantile(double q) {
        if (count == 0) {
            return Double.NaN;
        }
        long rank = Math.max(1, (long) Math.ceil(q * count));
        long seen = 0;
        int index = -1;
        while (seen < rank) {
            seen += counts[++index];
        }
        return Math.min(middle(index), max);
    }

    private static int bucket(long value) {
        if (value < 256) {
            return (int) value;
        }
        int shift = 63 - Long.numberOfLeadingZeros(value) - OCTAVE_BITS; // at least 1
        return 256 + (shift - 1) * PER_OCTAVE + (int) (value >>> shift) - PER_OCTAVE;
    }

    private static double middle(int index) {
        if (index < 256) {
            return index;
        }
        int shift = (index - 256) / PER_OCTAVE + 1;
        long lowest = (long) ((index - 256) % PER_OCTAVE + PER_OCTAVE) << shift;
        return lowest + (1L << shift) / 2.0;
    }
}
