/* Tells a recorder of each sync of a file or directory, once it is over, and of each name that is about to go;
   waits for its answer. With a sync goes the descriptor: who opened the file anew would break a lease of it.
   Loaded with LD_PRELOAD into the processes of the product. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(char kind, const char *path, int descriptor) {
    const char *address = getenv("POWER_RECORDER"), *root = getenv("POWER_ROOT");
    int kept = errno;
    if (!address || !root || strncmp(path, root, strlen(root)) != 0) return;
    int end = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, address, sizeof name.sun_path - 1);
    if (end >= 0 && connect(end, (struct sockaddr *)&name, sizeof name) == 0) {
        char line[PATH_MAX + 8], answer;
        int length = snprintf(line, sizeof line, "%c%s\n", kind, path);
        struct iovec text = {.iov_base = line, .iov_len = length};
        char space[CMSG_SPACE(sizeof descriptor)] = {0};
        struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
        if (descriptor >= 0) {
            message.msg_control = space;
            message.msg_controllen = sizeof space;
            struct cmsghdr *head = CMSG_FIRSTHDR(&message);
            head->cmsg_level = SOL_SOCKET;
            head->cmsg_type = SCM_RIGHTS;
            head->cmsg_len = CMSG_LEN(sizeof descriptor);
            memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
        }
        if (sendmsg(end, &message, 0) == length && read(end, &answer, 1) < 0) { /* the recorder has gone */ }
    }
    if (end >= 0) close(end);
    errno = kept;
}

static void tell_of_descriptor(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        tell('S', path, descriptor);
    }
}

static void tell_of_name(int directory, const char *name) {
    char link[64], path[PATH_MAX + 512] = "";
    if (name[0] != '/') {
        if (directory == AT_FDCWD) {
            if (!getcwd(path, PATH_MAX)) return;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
            ssize_t length = readlink(link, path, PATH_MAX - 1);
            if (length <= 0) return;
            path[length] = 0;
        }
        strcat(path, "/");
    }
    if (strlen(path) + strlen(name) < sizeof path) {
        strcat(path, name);
        if (access(path, F_OK) == 0) tell('G', path, -1);
    }
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fsync(int descriptor) {
    REAL(fsync);
    int result = real(descriptor);
    if (result == 0) tell_of_descriptor(descriptor);
    return result;
}

int fdatasync(int descriptor) {
    REAL(fdatasync);
    int result = real(descriptor);
    if (result == 0) tell_of_descriptor(descriptor);
    return result;
}

int unlink(const char *name) {
    REAL(unlink);
    tell_of_name(AT_FDCWD, name);
    return real(name);
}

int unlinkat(int directory, const char *name, int flags) {
    REAL(unlinkat);
    if (!(flags & AT_REMOVEDIR)) tell_of_name(directory, name);
    return real(directory, name, flags);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    tell_of_name(AT_FDCWD, to);
    return real(from, to);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    REAL(renameat);
    tell_of_name(to_directory, to);
    return real(from_directory, from, to_directory, to);
}
