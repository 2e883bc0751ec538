package gcbench;

/** The command line: {@code name=value} arguments, all of them needed. */
final class Settings {
    String url;
    int rows;
    int rowBytes;
    /** Arrivals per second. */
    double rate;
    /** Share of the operations that are reads; the others are updates. */
    double readShare;
    /** Exponent of the popularity of keys, 0 (uniform) up to below 1. */
    double zipf;
    double warmupSeconds;
    double measuredSeconds;
    int workers;
    long seed;

    static Settings parse(String[] arguments) {
        Settings settings = new Settings();
        for (String argument : arguments) {
            int equals = argument.indexOf('=');
            if (equals < 1) {
                throw new IllegalArgumentException("expected name=value, got " + argument);
            }
            settings.set(argument.substring(0, equals), argument.substring(equals + 1));
        }
        if (settings.url == null || settings.rows < 2 || settings.rowBytes < 1 || settings.rate <= 0
                || settings.zipf < 0 || settings.zipf >= 1 || settings.workers < 1 || settings.measuredSeconds <= 0) {
            throw new IllegalArgumentException(
                    "needs url, rows >= 2, 0 <= zipf < 1, and row_bytes, rate, workers, measured_s above 0");
        }
        return settings;
    }

    private void set(String name, String value) {
        switch (name) {
            case "url" -> url = value;
            case "rows" -> rows = Integer.parseInt(value);
            case "row_bytes" -> rowBytes = Integer.parseInt(value);
            case "rate" -> rate = Double.parseDouble(value);
            case "read_share" -> readShare = Double.parseDouble(value);
            case "zipf" -> zipf = Double.parseDouble(value);
            case "warmup_s" -> warmupSeconds = Double.parseDouble(value);
            case "measured_s" -> measuredSeconds = Double.parseDouble(value);
            case "workers" -> workers = Integer.parseInt(value);
            case "seed" -> seed = Long.parseLong(value);
            default -> throw new IllegalArgumentException("unknown argument " + name);
        }
    }
}
