package gcbench;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.SplittableRandom;
import java.util.concurrent.locks.LockSupport;

/** Takes arrivals from the schedule, waits until each is due, runs it and times it from when it was due. */
final class Worker extends Thread {
    /** How long after the window an overloaded store may go on with its backlog, in nanoseconds. */
    private static final long PATIENCE = 2_000_000_000L;
    final Histogram latency = new Histogram();
    /** Operations that finished inside the measured window, whenever they were due. */
    long completedInWindow;
    Exception failure;
    private final Settings settings;
    private final Schedule schedule;
    private final SplittableRandom random;

    Worker(Settings settings, Schedule schedule, int number) {
        super("load-" + number);
        this.settings = settings;
        this.schedule = schedule;
        this.random = new SplittableRandom(settings.seed * 31 + number);
    }

    @Override
    public void run() {
        try (Connection connection = DriverManager.getConnection(settings.url, "sa", "");
                PreparedStatement select = connection.prepareStatement("SELECT v FROM kv WHERE k = ?");
                PreparedStatement update = connection.prepareStatement("UPDATE kv SET v = ? WHERE k = ?")) {
            Schedule.Operation operation = new Schedule.Operation();
            while (schedule.next(operation)) {
                waitUntil(operation.due);
                if (System.nanoTime() < schedule.end + PATIENCE) { // else it is never served, and took at least this long
                    serve(operation, select, update);
                }
                record(operation.due, System.nanoTime());
            }
        } catch (SQLException | RuntimeException exception) {
            failure = exception;
        }
    }

    private static void waitUntil(long due) {
        for (long left = due - System.nanoTime(); left > 0; left = due - System.nanoTime()) {
            LockSupport.parkNanos(left);
        }
    }

    private void serve(Schedule.Operation operation, PreparedStatement select, PreparedStatement update)
            throws SQLException {
        if (operation.read) {
            read(select, operation.key);
        } else {
            write(update, operation.key);
        }
    }

    private void read(PreparedStatement select, int key) throws SQLException {
        select.setInt(1, key);
        try (ResultSet rows = select.executeQuery()) {
            if (!rows.next() || rows.getBytes(1).length != settings.rowBytes) {
                throw new IllegalStateException("row " + key + " is missing or has the wrong size");
            }
        }
    }

    private void write(PreparedStatement update, int key) throws SQLException {
        byte[] value = new byte[settings.rowBytes];
        random.nextBytes(value);
        update.setBytes(1, value);
        update.setInt(2, key);
        if (update.executeUpdate() != 1) {
            throw new IllegalStateException("the update of row " + key + " changed nothing");
        }
    }

    private void record(long due, long now) {
        if (now >= schedule.begin && now < schedule.end) {
            completedInWindow++;
        }
        if (due >= schedule.begin) {
            latency.record(now - due);
        }
    }
}
