package gcbench;

import java.util.Locale;
import java.util.Scanner;

/**
 * Shows the driver's own parts to a test. Reads numbers from standard input and prints one number a line:
 * {@code histogram} takes nanoseconds and prints count, mean, maximum and the quantiles 0.5, 0.99 and 0.999;
 * {@code zipf N EXPONENT} takes uniform numbers and prints the rank and the key of each.
 */
public final class Check {
    private Check() {
    }

    public static void main(String[] arguments) {
        Scanner numbers = new Scanner(System.in).useLocale(Locale.ROOT);
        switch (arguments.length == 0 ? "" : arguments[0]) {
            case "histogram" -> histogram(numbers);
            case "zipf" -> zipf(new Zipf(Integer.parseInt(arguments[1]), Double.parseDouble(arguments[2])), numbers);
            default -> throw new IllegalArgumentException("expected histogram, or zipf N EXPONENT");
        }
    }

    private static void histogram(Scanner numbers) {
        Histogram even = new Histogram();
        Histogram odd = new Histogram();
        for (int i = 0; numbers.hasNextLong(); i++) {
            (i % 2 == 0 ? even : odd).record(numbers.nextLong());
        }
        even.add(odd);
        System.out.println(even.count() + "\n" + even.mean() + "\n" + even.max());
        for (double q : new double[] {0.5, 0.99, 0.999}) {
            System.out.println(even.quantile(q));
        }
    }

    private static void zipf(Zipf zipf, Scanner numbers) {
        StringBuilder lines = new StringBuilder();
        while (numbers.hasNextDouble()) {
            double uniform = numbers.nextDouble();
            lines.append(zipf.rank(uniform)).append('\n').append(zipf.key(uniform)).append('\n');
        }
        System.out.print(lines);
    }
}
