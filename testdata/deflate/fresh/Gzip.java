import java.util.zip.GZIPOutputStream;

/** Compresses standard input with the JDK's gzip. */
public class Gzip {
    public static void main(String[] arguments) throws Exception {
        try (GZIPOutputStream out = new GZIPOutputStream(System.out)) {
            System.in.transferTo(out);
        }
    }
}
