package gcbench;

import java.util.SplittableRandom;

/** The arrivals: one sequence for all workers, a function of the seed alone, whoever takes which. */
final class Schedule {
    /** The measured window, System.nanoTime(). */
    final long begin;
    final long end;
    private final long start;
    private final double meanGap;
    private final double readShare;
    private final SplittableRandom random;
    private final Zipf zipf;
    /** Nanoseconds from start to the latest arrival handed out. */
    private double elapsed;

    Schedule(Settings settings, long start) {
        this.start = start;
        this.begin = start + (long) (settings.warmupSeconds * 1e9);
        this.end = begin + (long) (settings.measuredSeconds * 1e9);
        this.meanGap = 1e9 / settings.rate;
        this.readShare = settings.readShare;
        this.random = new SplittableRandom(~settings.seed);
        this.zipf = new Zipf(settings.rows, settings.zipf);
    }

    /** One operation. Its worker reuses it: the generator itself makes no garbage. */
    static final class Operation {
        long due;
        int key;
        boolean read;
    }

    /** Fills in the next arrival; false once the measured window is over. */
    synchronized boolean next(Operation operation) {
        elapsed += -Math.log1p(-random.nextDouble()) * meanGap;
        operation.due = start + (long) elapsed;
        operation.key = zipf.key(random.nextDouble());
        operation.read = random.nextDouble() < readShare;
        return operation.due < end;
    }
}
