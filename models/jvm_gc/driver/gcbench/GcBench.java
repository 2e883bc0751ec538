package gcbench;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.locks.LockSupport;

/**
 * An embedded H2 store under an open-loop load: Poisson arrivals, zipfian keys, point reads and updates.
 *
 * <p>The latency of an operation counts from the moment it was due, not from the moment a worker got to it, so
 * operations that queue behind a pause are charged for it (no coordinated omission).
 *
 * <p>Prints {@code WINDOW begin} and {@code WINDOW end} as the measured window opens and closes, then one line
 * of JSON. Its moments are System.nanoTime(), the clock of the unified log's decorator {@code timenanos}.
 */
public final class GcBench {
    private static final int ROWS_PER_COMMIT = 1000;

    private GcBench() {
    }

    public static void main(String[] arguments) throws Exception {
        Settings settings = Settings.parse(arguments);
        long began = System.nanoTime();
        // Never closed: closing compacts the store, which takes seconds and serves nobody here.
        Connection connection = DriverManager.getConnection(settings.url, "sa", "");
        preload(connection, settings);
        double preloadSeconds = (System.nanoTime() - began) / 1e9;
        System.gc(); // every load starts on the same heap: live rows in the old generation, an empty eden

        Schedule schedule = new Schedule(settings, System.nanoTime());
        Worker[] workers = new Worker[settings.workers];
        for (int number = 0; number < workers.length; number++) {
            workers[number] = new Worker(settings, schedule, number);
            workers[number].start();
        }
        announce(schedule.begin, "begin");
        announce(schedule.end, "end");
        Histogram latency = new Histogram();
        long completed = 0;
        for (Worker worker : workers) {
            worker.join();
            if (worker.failure != null) {
                throw new IllegalStateException("a worker failed", worker.failure);
            }
            latency.add(worker.latency);
            completed += worker.completedInWindow;
        }
        System.out.println(report(schedule, latency, completed, preloadSeconds));
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static void preload(Connection connection, Settings settings) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE kv (k INT PRIMARY KEY, v VARBINARY(" + settings.rowBytes + "))");
        }
        connection.setAutoCommit(false);
        SplittableRandom random = new SplittableRandom(settings.seed);
        byte[] value = new byte[settings.rowBytes];
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO kv VALUES (?, ?)")) {
            for (int key = 0; key < settings.rows; key++) {
                random.nextBytes(value);
                insert.setInt(1, key);
                insert.setBytes(2, value);
                insert.executeUpdate();
                if (key % ROWS_PER_COMMIT == ROWS_PER_COMMIT - 1) {
                    connection.commit();
                }
            }
        }
        connection.commit();
    }

    private static void announce(long moment, String what) {
        for (long left = moment - System.nanoTime(); left > 0; left = moment - System.nanoTime()) {
            LockSupport.parkNanos(left);
        }
        System.out.println("WINDOW " + what);
        System.out.flush();
    }

    /** One line of JSON; latencies in milliseconds. */
    private static String report(Schedule schedule, Histogram latency, long completed, double preloadSeconds) {
        return String.format(Locale.ROOT,
                "{\"begin_ns\": %d, \"end_ns\": %d, \"offered\": %d, \"completed\": %d, \"preload_s\": %.3f, "
                        + "\"p50\": %.6f, \"p99\": %.6f, \"p999\": %.6f, \"max\": %.6f, \"mean\": %.6f}",
                schedule.begin, schedule.end, latency.count(), completed, preloadSeconds,
                latency.quantile(0.50) / 1e6, latency.quantile(0.99) / 1e6, latency.quantile(0.999) / 1e6,
                latency.max() / 1e6, latency.mean() / 1e6);
    }
}
