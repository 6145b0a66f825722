import com.sun.tools.attach.VirtualMachine;
import java.util.ArrayList;
import java.util.List;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/**
 * Prints how many connections brokers say that each of some listeners has.
 *
 * Arguments: the listeners' names, with commas, and the brokers' process ids. Attaches to
 * each process and asks its MBeans `kafka.server:type=socket-server-metrics`. There is a
 * line for each look: nanoseconds of the system's monotonic clock, and the numbers.
 */
public class Connections {
    public static void main(String[] arguments) throws Exception {
        List<MBeanServerConnection> servers = new ArrayList<>();
        for (int i = 1; i < arguments.length; i++) {
            VirtualMachine broker = VirtualMachine.attach(arguments[i]);
            String address = broker.startLocalManagementAgent();
            servers.add(JMXConnectorFactory.connect(new JMXServiceURL(address))
                .getMBeanServerConnection());
        }
        while (!System.out.checkError()) {
            StringBuilder line = new StringBuilder().append(System.nanoTime());
            for (String listener : arguments[0].split(",")) {
                line.append(' ').append(count(servers, listener));
            }
            System.out.println(line);
            Thread.sleep(2);
        }
    }

    private static int count(List<MBeanServerConnection> servers, String listener)
            throws Exception {
        ObjectName pattern = new ObjectName("kafka.server:type=socket-server-metrics,"
            + "listener=" + listener + ",networkProcessor=*");
        double count = 0;
        for (MBeanServerConnection server : servers) {
            for (ObjectName name : server.queryNames(pattern, null)) {
                count += (Double) server.getAttribute(name, "connection-count");
            }
        }
        return (int) count;
    }
}
